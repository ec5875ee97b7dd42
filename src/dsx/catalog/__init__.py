"""Facts in SQL: files, versions and datasets. SQLite or PostgreSQL, one code path."""
