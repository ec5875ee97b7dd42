"""One translator per protocol: no rules, storage or state, and no imports of each other."""
