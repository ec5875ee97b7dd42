"""Reconcilers: each compares what is wanted with what is found, and mends the difference."""
