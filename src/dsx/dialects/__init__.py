"""The older systems whose clients still work here: a room each, with its private rules."""
