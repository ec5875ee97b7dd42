"""Integrity of stored bytes: finding damage, quarantine, removal, comparison with the catalog."""
