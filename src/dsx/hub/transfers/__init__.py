"""Uploads that span requests, and the tasks that control them and other transfers."""
