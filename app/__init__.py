"""Start-up forms of the seed systems; the server itself is `dsx.app`."""
