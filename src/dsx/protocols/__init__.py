"""One translator a protocol. No rules, no storage, no state; they never import each other."""
