"""The database: files, versions, datasets. SQLite or PostgreSQL, one code path."""
