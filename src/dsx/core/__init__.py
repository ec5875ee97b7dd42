"""Pure values and rules: no I/O, standard library only. Everything else may import this."""
