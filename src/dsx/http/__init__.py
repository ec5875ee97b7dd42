"""What every protocol needs of HTTP: problem responses, ranges, zero-copy sending, fast receiving."""
