"""Who is asking, and what they may do: accounts, credentials, shares, the audit log."""
