"""Files: received, kept in versions, put in the trash, packed into archives."""
