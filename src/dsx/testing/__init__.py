"""Public conformance suites: run them against your own implementation of an interface."""
