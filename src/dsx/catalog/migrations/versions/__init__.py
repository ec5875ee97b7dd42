"""Schema changes, in order; a released one never changes."""
