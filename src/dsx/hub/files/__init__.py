"""Files: upload, versions, trash, archives."""
