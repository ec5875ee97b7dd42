"""Reconcilers: each compares the desired with the actual state and repairs the difference."""
