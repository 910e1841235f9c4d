"""A writer's chain in the SQLite ledger: which keys are taken, the entries that are added, the head that moves."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from itertools import chain

from scoregate.ledger.entry import GENESIS, Earlier, Sealed, asked
from scoregate.ledger.group import Decided, Head, Key, chained
from scoregate.ledger.rows import entry_row, personal_rows
from scoregate.ledger.sqlite_rows import chunks, insert, standing_sql


class Chain:
    """Adds entries in transactions that the ledger begins and ends."""

    def __init__(self, service: str, writer: str) -> None:
        self._service = service
        self._writer = writer
        self._head: Head | None = None

    def forget(self) -> None:
        """Let the next transaction read the head: whether a failed commit took hold, only the file can say."""
        self._head = None

    def add(self, db: sqlite3.Connection, group: Sequence[Sealed]) -> list[Decided]:
        """Write what is new of a group; say of each entry what became of it."""
        added = chained(group, self._standing(db, group), self._writer, self._head or self._stored_head(db))
        insert(db, "entries", [entry_row(linked, self._writer) for linked in added.entries])
        insert(db, "personal", [row for linked in added.entries for row in personal_rows(linked, self._writer)])
        insert(db, "keys", [(self._service, *key, standing.writer, standing.seq) for key, standing in added.used])
        if added.entries:
            row = (self._writer, self._service, *added.head)
            db.execute("INSERT OR REPLACE INTO writers VALUES (?, ?, ?, ?)", row)
        self._head = added.head
        return added.decided

    def _stored_head(self, db: sqlite3.Connection) -> Head:
        row = db.execute("SELECT seq, hash FROM writers WHERE writer = ?", (self._writer,)).fetchone()
        return row or (0, GENESIS)

    def _standing(self, db: sqlite3.Connection, group: Sequence[Sealed]) -> dict[Key, Earlier]:
        """Read which decisions the keys of a group stand for already."""
        standing = {}
        for chunk in chunks([pair for sealed in group for pair in asked(sealed.entry)]):
            found = db.execute(standing_sql(len(chunk)), (*chain.from_iterable(chunk), self._service))
            standing.update({(kind, key): Earlier(*decision) for kind, key, *decision in found})
        return standing
