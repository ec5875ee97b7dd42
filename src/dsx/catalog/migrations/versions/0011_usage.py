"""What owners have, counted: so that a quota is not summed up anew for each upload.

The counters are kept by triggers, in the very transaction that changes what they count.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

# ruff: noqa: S608 (all that the statements are put together from stands here)

revision = "0011"
down_revision = "0010"

_COUNTED = ("bytes", "files", "staged", "reserved", "uploads")
_HELD = "({row}.state = 'open' OR {row}.kind = 'partial' AND {row}.state = 'finished')"
_FILE = ("{row}.size", "1", "0", "0", "0")
_UPLOAD = ("0", "0", "{row}.counted", "{row}.reserved", f"CASE WHEN {_HELD} THEN 1 ELSE 0 END")
_TABLES = {
    "files": (_FILE, "owner, size"),
    "uploads": (_UPLOAD, "owner, kind, state, counted, reserved"),
}


def upgrade() -> None:
    """Make the counters, count what is there, and have triggers keep them."""
    op.add_column(
        "uploads", sa.Column("counted", sa.BigInteger(), nullable=False, server_default="0")
    )
    op.add_column(
        "uploads", sa.Column("due", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    op.create_table(
        "usage",
        sa.Column("owner", _name(), primary_key=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _COUNTED),
    )
    for name, table, column, rows in (
        ("usage_reserved", "usage", "reserved", "reserved > 0"),
        ("files_expires", "files", "expires", "trashed IS NOT NULL"),
    ):
        where = sa.text(rows)
        op.create_index(name, table, [column], sqlite_where=where, postgresql_where=where)
    _count_uploads()
    _count()
    postgres = op.get_bind().dialect.name == "postgresql"
    for table, (values, columns) in _TABLES.items():
        for statement in (_postgres if postgres else _sqlite)(table, values, columns):
            op.execute(statement)


def _name() -> sa.types.TypeEngine[str]:
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _count_uploads() -> None:
    """Of uploads under way, the length counts, or what has come; of finals, their parts do."""
    uploads = sa.table(
        "uploads",
        *map(sa.column, ("id", "kind", "state", "length", "counted")),
        sa.column("received", sa.JSON()),
    )
    connection = op.get_bind()
    under_way = (uploads.c.state == "open") & (uploads.c.kind != "final")
    ready = (uploads.c.state == "finished") & (uploads.c.kind == "partial")
    rows = connection.execute(
        sa.select(uploads.c.id, uploads.c.length, uploads.c.received).where(under_way | ready)
    ).all()
    for row in rows:
        size = row.length
        if size is None:
            size = sum(stop - start for start, stop in row.received)
        connection.execute(sa.update(uploads).where(uploads.c.id == row.id).values(counted=size))


def _count() -> None:
    names = ", ".join(_COUNTED)
    sources = " UNION ALL ".join(
        "SELECT owner, "
        + ", ".join(
            f"{value.format(row=table)} AS {name}"
            for value, name in zip(values, _COUNTED, strict=True)
        )
        + f" FROM {table}"
        for table, (values, _) in _TABLES.items()
    )
    sums = ", ".join(f"sum({name})" for name in _COUNTED)
    op.execute(
        f"INSERT INTO usage (owner, {names}) "
        f"SELECT owner, {sums} FROM ({sources}) AS rows GROUP BY owner"
    )


def _add(values: tuple[str, ...]) -> str:
    names = ", ".join(_COUNTED)
    new = ", ".join(value.format(row="NEW") for value in values)
    added = ", ".join(f"{name} = usage.{name} + excluded.{name}" for name in _COUNTED)
    return (
        f"INSERT INTO usage (owner, {names}) VALUES (NEW.owner, {new}) "
        f"ON CONFLICT (owner) DO UPDATE SET {added};"
    )


def _subtract(values: tuple[str, ...]) -> str:
    less = ", ".join(
        f"{name} = {name} - ({value.format(row='OLD')})"
        for name, value in zip(_COUNTED, values, strict=True)
    )
    return f"UPDATE usage SET {less} WHERE owner = OLD.owner;"


def _sqlite(table: str, values: tuple[str, ...], columns: str) -> list[str]:
    add, subtract = _add(values), _subtract(values)
    return [
        f"CREATE TRIGGER usage_{table}_{event.lower().split()[0]} AFTER {event} ON {table} "
        f"BEGIN {what} END"
        for event, what in (
            ("INSERT", add),
            ("DELETE", subtract),
            (f"UPDATE OF {columns}", subtract + " " + add),
        )
    ]


def _postgres(table: str, values: tuple[str, ...], columns: str) -> list[str]:
    function = f"""CREATE FUNCTION usage_of_{table}() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP <> 'INSERT' THEN {_subtract(values)} END IF;
        IF TG_OP <> 'DELETE' THEN {_add(values)} END IF;
        RETURN NULL;
    END $$"""
    changed = " OR ".join(
        f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in columns.split(", ")
    )
    run = f"FOR EACH ROW EXECUTE FUNCTION usage_of_{table}()"
    on_update = f"FOR EACH ROW WHEN ({changed}) EXECUTE FUNCTION usage_of_{table}()"
    return [
        function,
        f"CREATE TRIGGER usage_{table} AFTER INSERT OR DELETE ON {table} {run}",
        f"CREATE TRIGGER usage_{table}_changed AFTER UPDATE OF {columns} ON {table} {on_update}",
    ]
