"""What every protocol needs of HTTP: problems, ranges, zero-copy sending, fast receiving."""
