"""Start-up form of the file server seed's client; the client itself is `dsx.cli`."""
