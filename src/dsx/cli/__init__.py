"""``dsx …``: one command a module."""
