"""Entries, keys and events as rows of the PostgreSQL ledger, both ways, and the statements that carry them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scoregate.events import Outgoing
from scoregate.ledger.entry import PLAIN_FLOATS
from scoregate.ledger.group import Chained
from scoregate.ledger.rows import COLUMNS, PERSONAL_COLUMNS, Row, entry_row, personal_rows
from scoregate.values import frozen

_BIGINT = ("seq", "number", "sent")
_BYTEA = ("hash", "previous_hash", "vector", "answer", "payload", "salt", "commitment")


def _type_of(column: str) -> str:
    if column in _BIGINT:
        return "bigint"
    if column in PLAIN_FLOATS:
        return "float8"
    if column == "format":
        return "smallint"
    return "bytea" if column in _BYTEA or column.endswith(("_salt", "_commitment")) else "text"


_INSERTED: Mapping[str, Sequence[str]] = {
    "keys": ("service", "kind", "key", "writer", "seq", "decided_at"),
    "entries": COLUMNS,
    "personal": (*PERSONAL_COLUMNS, "decided_at"),
    "writers": ("writer", "service", "seq", "hash"),
    "outbox": ("writer", "stream", "number", "service", "key", "payload"),
    "streams": ("writer", "stream", "service", "number", "sent"),
}
"""Columns by table, in the order of the rows made here."""

_MOVED = {
    "writers": " ON CONFLICT (writer) DO UPDATE SET seq = excluded.seq, hash = excluded.hash",
    "streams": " ON CONFLICT (writer, stream) DO UPDATE SET number = excluded.number",
}


def _write_sql() -> str:
    parts = []
    first = 1
    for table, columns in _INSERTED.items():
        arrays = ", ".join(f"${n}::{_type_of(column)}[]" for n, column in enumerate(columns, first))
        insert = f"INSERT INTO {table} ({', '.join(columns)}) SELECT * FROM unnest({arrays})"  # noqa: S608  names from here
        parts.append(f"new_{table} AS ({insert}{_MOVED.get(table, '')})")
        first += len(columns)
    return f"WITH {', '.join(parts)} SELECT"


WRITE = _write_sql()
"""Everything that a group writes, as one statement: it is the transaction, and its end is the commit.

A key that another process took since it was looked up is an error, and nothing of the group is written.
"""
# Each LIMIT keeps the way from key to row: else the planner may scan, as long as it does not know the tables' sizes.
_FOUND = """
    CROSS JOIN LATERAL (
        SELECT writer, seq, decided_at FROM keys WHERE (service, kind, key) = ($1, asked.kind, asked.key) LIMIT 1
    ) k
    LEFT JOIN LATERAL (
        SELECT * FROM entries WHERE (writer, seq, decided_at) = (k.writer, k.seq, k.decided_at) LIMIT 1
    ) e ON true
    """
STANDING = f"""
    SELECT asked.kind, asked.key, coalesce(e.decision_id, ''), coalesce(e.request_digest, ''), e.answer,
        k.writer, k.seq, k.decided_at
    FROM unnest($2::text[], $3::text[]) AS asked (kind, key) {_FOUND}
    """  # noqa: S608  only names from this file are put into statements, values are bound
"""A key whose entry is gone, with its month, stands all the same: for no request that could come again."""
TAKEN = "SELECT key FROM outbox WHERE service = $1 AND key = ANY($2::text[])"
# A row that somebody else is writing to is left for the next time: whoever never waits is in no deadlock.
NOTE = """
    WITH free AS (
        SELECT s.writer, s.stream, news.number
        FROM streams s JOIN unnest($1::text[], $2::text[], $3::bigint[]) AS news (writer, stream, number)
            ON s.writer = news.writer AND s.stream = news.stream
        FOR UPDATE OF s SKIP LOCKED
    )
    UPDATE streams s SET sent = greatest(s.sent, free.number) FROM free
    WHERE s.writer = free.writer AND s.stream = free.stream
    """
# Each writer with its head and the last entry there is; entries of no known writer come after a head of nothing.
WRITERS = """
    SELECT w.writer, w.seq, w.hash, (SELECT max(e.seq) FROM entries e WHERE e.writer = w.writer) AS end
    FROM writers w WHERE w.service = $1
    UNION ALL
    SELECT e.writer, 0, decode(repeat('00', 32), 'hex'), max(e.seq)
    FROM entries e
    WHERE e.service = $1 AND NOT EXISTS (SELECT FROM writers w WHERE w.writer = e.writer AND w.service = $1)
    GROUP BY e.writer
    """
_KEYED = (
    "EXISTS (SELECT FROM keys k WHERE k.service = e.service AND (k.writer, k.seq) = (e.writer, e.seq) AND k.kind = "
)
PAGE = f"""
    SELECT {", ".join(f"e.{column}" for column in COLUMNS)},
        (e.natural_key IS NULL OR {_KEYED} 'natural' AND k.key = e.natural_key))
            AND (e.idempotency_key IS NULL OR {_KEYED} 'idempotency' AND k.key = e.idempotency_key))
            AND {_KEYED} 'decision' AND k.key = e.decision_id) AS is_keyed
    FROM entries e
    WHERE e.writer = $1 AND e.seq >= $2 AND (e.seq, e.decided_at) > ($2, $3) AND e.seq <= $4
    ORDER BY e.seq, e.decided_at LIMIT $5
    """  # noqa: S608  as STANDING
PERSONAL_FIELDS = """
    SELECT seq, name, value, salt, commitment FROM personal WHERE writer = $1 AND seq BETWEEN $2 AND $3
    """
PERSONAL_OF = """
    SELECT p.writer, p.seq, p.name, p.value, p.salt, p.commitment
    FROM unnest($1::text[], $2::bigint[], $3::float8[]) AS f (writer, seq, decided_at)
    JOIN personal p ON (p.writer, p.seq, p.decided_at) = (f.writer, f.seq, f.decided_at)
    """
ONE = f"""
    SELECT {", ".join(f"e.{column}" for column in COLUMNS)}
    FROM (VALUES ($2::text, $3::text)) AS asked (kind, key) {_FOUND}
    WHERE e.writer IS NOT NULL
    """  # noqa: S608  as STANDING


@frozen
class Rows:
    """Rows by table, as a group adds them."""

    keys: Sequence[Row]
    entries: Sequence[Row]
    personal: Sequence[Row]
    writers: Sequence[Row]
    outbox: Sequence[Row]
    streams: Sequence[Row]

    @property
    def are_none(self) -> bool:
        return not (self.keys or self.outbox)

    def parameters(self) -> list[Sequence[Any]]:
        """Return the columns that `WRITE` takes."""
        columns: list[Sequence[Any]] = []
        for table, names in _INSERTED.items():
            rows = getattr(self, table)
            columns += zip(*rows, strict=True) if rows else [()] * len(names)
        return columns


def rows_of(
    service: str,
    writer: str,
    added: Chained,
    decided_at: Mapping[tuple[str, int], float],
    events: Sequence[tuple[str, Outgoing]],
) -> Rows:
    """Write a group as rows. `decided_at` is that of the entries which its keys stood for before."""
    at = {**decided_at, **{(writer, one.seq): one.sealed.entry.decided_at for one in added.entries}}
    used = [(service, *key, to.writer, to.seq, at[to.writer, to.seq]) for key, to in added.used]
    used += [
        (service, "decision", entry.decision_id, writer, one.seq, entry.decided_at)
        for one in added.entries
        for entry in (one.sealed.entry,)
    ]
    numbers = {event.stream: event.number for _, event in events}
    return Rows(
        # In order: of two groups that share keys one waits for the other, and never each for the other.
        keys=sorted(used),
        entries=[entry_row(one, writer) for one in added.entries],
        personal=[(*row, at[writer, row[1]]) for one in added.entries for row in personal_rows(one, writer)],
        writers=[(writer, service, *added.head)] if added.entries else [],
        outbox=sorted(((writer, o.stream, o.number, service, key, o.payload) for key, o in events), key=lambda r: r[4]),
        streams=[(writer, stream, service, number, 0) for stream, number in numbers.items()],
    )
