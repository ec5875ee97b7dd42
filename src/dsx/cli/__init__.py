"""The ``dsx`` command line: one module per command."""
