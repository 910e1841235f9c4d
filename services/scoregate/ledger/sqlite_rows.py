"""Entries as rows of the SQLite ledger, both ways, and the statements that carry them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import chain
from typing import TypeVar

from scoregate.ledger import Broken, Recorded
from scoregate.ledger.rows import COLUMNS, PERSONAL_COLUMNS, Row, recorded_of

R = TypeVar("R")

INSERTED = {
    "entries": COLUMNS,
    "personal": PERSONAL_COLUMNS,
    "keys": ("service", "kind", "key", "writer", "seq"),
    "outbox": ("writer", "stream", "number", "service", "key", "payload"),
}
"""Columns by table, in the order of their rows."""

# Each writer with its head and the last entry there is; entries of no known writer come after a head of nothing.
WRITERS = """
    SELECT w.writer, CAST(w.seq AS INTEGER), CAST(w.hash AS BLOB),
        (SELECT max(e.seq) FROM entries e WHERE e.writer = w.writer)
    FROM writers w WHERE w.service = :service
    UNION ALL
    SELECT e.writer, 0, zeroblob(32), max(e.seq)
    FROM entries e
    WHERE e.service = :service AND e.writer NOT IN (SELECT writer FROM writers WHERE service = :service)
    GROUP BY e.writer
    """
PAGE = f"""
    SELECT {", ".join(f"e.{column}" for column in COLUMNS)},
        (e.natural_key IS NULL OR (n.writer IS e.writer AND n.seq IS e.seq))
            AND (e.idempotency_key IS NULL OR (i.writer IS e.writer AND i.seq IS e.seq))
    FROM entries e
    LEFT JOIN keys n ON n.service = e.service AND n.kind = 'natural' AND n.key = e.natural_key
    LEFT JOIN keys i ON i.service = e.service AND i.kind = 'idempotency' AND i.key = e.idempotency_key
    WHERE e.writer = ? AND e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?
    """  # noqa: S608  only names from this file are put into statements, values are bound

CHUNK_ROWS = 32
"""Rows per statement: each hands over the interpreter lock, so a group takes few of them. One for each number of rows
up to this stays prepared."""
PAGE_ROWS = 500
"""Entries per read transaction of `verify`: a longer one would keep the write-ahead log from being emptied."""


def chunks(rows: Sequence[R]) -> Iterator[Sequence[R]]:
    """Cut rows into what one statement takes."""
    for start in range(0, len(rows), CHUNK_ROWS):
        yield rows[start : start + CHUNK_ROWS]


def _values(columns: int, rows: int) -> str:
    return "VALUES " + ", ".join([f"({', '.join('?' * columns)})"] * rows)


def insert(db: sqlite3.Connection, table: str, rows: Sequence[Row]) -> None:
    for chunk in chunks(rows):
        db.execute(insert_sql(table, len(chunk)), tuple(chain.from_iterable(chunk)))


@cache
def insert_sql(table: str, rows: int) -> str:
    # A refusal takes back the whole transaction in any case. To take back a statement of several rows alone, SQLite
    # would copy each page before it changes, and those of a large group into a file.
    columns = INSERTED[table]
    return f"INSERT OR ROLLBACK INTO {table} ({', '.join(columns)}) {_values(len(columns), rows)}"


@cache
def standing_sql(pairs: int) -> str:
    # CROSS JOIN: from the keys asked for to their rows, never a scan of the table.
    return f"""
        WITH asked (kind, key) AS ({_values(2, pairs)})
        SELECT k.kind, k.key, e.decision_id, e.request_digest, e.answer, e.writer, e.seq
        FROM asked
        CROSS JOIN keys k ON k.kind = asked.kind AND k.key = asked.key AND k.service = ?
        CROSS JOIN entries e ON e.writer = k.writer AND e.seq = k.seq
        """  # noqa: S608  as PAGE


def stored(db: sqlite3.Connection, writer: str, after: int, end: int) -> Iterator[Recorded | Broken]:
    """Yield a writer's entries from `after` + 1 to `end`, in short read transactions."""
    seq, size = after, PAGE_ROWS
    while True:
        try:
            db.execute("BEGIN")
            page = db.execute(PAGE, (writer, seq, end, size)).fetchall()
            personal = personal_fields(db, writer, page[0][1], page[-1][1]) if page else {}
            db.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            db.rollback()
            if size == 1:
                yield Broken(writer, max(seq, 0) + 1, None, f"the file is damaged there: {error}")
                return
            size = 1  # To name the entry, not the page.
            continue
        if not page:
            return
        for *row, is_keyed in page:
            try:
                recorded = recorded_of(row, personal.get(row[1], ()))
            except (AttributeError, TypeError, ValueError):
                yield Broken(writer, max(seq, 0) + 1, None, "it cannot be read")
                return
            seq = recorded.seq
            yield recorded
            if not is_keyed:
                yield Broken(
                    writer, seq, recorded.entry.decision_id, "its natural or idempotency key does not lead to it"
                )


def personal_fields(db: sqlite3.Connection, writer: str, first: int, last: int) -> dict[int, list[Row]]:
    """Read the personal fields of some entries, by seq: name, value, salt, commitment."""
    fields: dict[int, list[Row]] = {}
    for seq, *field in db.execute(
        "SELECT seq, name, value, salt, commitment FROM personal WHERE writer = ? AND seq BETWEEN ? AND ?",
        (writer, first, last),
    ):
        fields.setdefault(seq, []).append(field)
    return fields


def lenient(text: bytes) -> str:
    return text.decode(errors="backslashreplace")
