"""Facts in SQL: what files, versions and datasets there are. SQLite or PostgreSQL, one code path."""
