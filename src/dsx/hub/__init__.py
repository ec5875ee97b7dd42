"""The use cases: every rule of DSX Hub lives here, once. Protocols translate to these calls."""
