"""Dialects: the APIs of older systems, one package each, with their private rules."""
