"""How many tasks each owner has that are not over, counted like what else they have."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# ruff: noqa: S608 (all that the statements are put together from stands here)

revision = "0014"
down_revision = "0013"

_ONE = """CASE WHEN {row}.state IN ('pending', 'running', 'waiting', 'paused')
    AND ({row}.kind IS NULL OR {row}.kind <> 'upload') THEN 1 ELSE 0 END"""
_OLD, _NEW = _ONE.format(row="OLD"), _ONE.format(row="NEW")
_SUBTRACT = f"UPDATE usage SET tasks = tasks - ({_OLD}) WHERE owner = OLD.owner;"
_ADD = f"""INSERT INTO usage (owner, bytes, files, staged, reserved, uploads, tasks)
    VALUES (NEW.owner, 0, 0, 0, 0, 0, {_NEW})
    ON CONFLICT (owner) DO UPDATE SET tasks = usage.tasks + excluded.tasks;"""
_CHANGED = f"({_OLD}) <> ({_NEW}) OR OLD.owner <> NEW.owner"


def upgrade() -> None:
    """Make the counter, count what is there, and have triggers keep it."""
    op.add_column("usage", sa.Column("tasks", sa.BigInteger(), nullable=False, server_default="0"))
    op.execute(
        "INSERT INTO usage (owner, bytes, files, staged, reserved, uploads, tasks) "
        f"SELECT owner, 0, 0, 0, 0, 0, sum({_ONE.format(row='tasks')}) FROM tasks "
        "WHERE true GROUP BY owner "
        "ON CONFLICT (owner) DO UPDATE SET tasks = excluded.tasks"
    )
    postgres = op.get_bind().dialect.name == "postgresql"
    for statement in _POSTGRES if postgres else _SQLITE:
        op.execute(statement)


_SQLITE = [
    f"CREATE TRIGGER usage_tasks_insert AFTER INSERT ON tasks BEGIN {_ADD} END",
    f"CREATE TRIGGER usage_tasks_delete AFTER DELETE ON tasks BEGIN {_SUBTRACT} END",
    f"""CREATE TRIGGER usage_tasks_update AFTER UPDATE OF owner, kind, state ON tasks
    WHEN {_CHANGED} BEGIN {_SUBTRACT} {_ADD} END""",
]
_POSTGRES = [
    f"""CREATE FUNCTION usage_of_tasks() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN {_SUBTRACT} END IF;
        IF TG_OP <> 'DELETE' THEN {_ADD} END IF;
        RETURN NULL;
    END $$""",
    """CREATE TRIGGER usage_tasks AFTER INSERT OR DELETE ON tasks
    FOR EACH ROW EXECUTE FUNCTION usage_of_tasks()""",
    f"""CREATE TRIGGER usage_tasks_changed AFTER UPDATE OF owner, kind, state ON tasks
    FOR EACH ROW WHEN ({_CHANGED}) EXECUTE FUNCTION usage_of_tasks()""",
]
