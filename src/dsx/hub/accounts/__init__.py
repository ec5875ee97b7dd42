"""Authentication and authorization: accounts, credentials, shares, the audit log."""
