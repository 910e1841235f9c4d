"""The SQLite ledger's outbox: events numbered as they become durable, and how far each writer's have been sent."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import chain

from scoregate.events import Event, Outgoing
from scoregate.ledger.group import Pair, Posted, numbered
from scoregate.ledger.sqlite_rows import chunks, insert

MOVED = """
    INSERT INTO streams (writer, stream, service, number, sent) VALUES (?, ?, ?, ?, 0)
    ON CONFLICT DO UPDATE SET number = excluded.number
    """
NOTED = "UPDATE streams SET sent = max(sent, ?) WHERE writer = ? AND stream = ?"


class Outbox:
    """Adds events of one writer in transactions that the ledger begins and ends."""

    def __init__(self, service: str, writer: str) -> None:
        self._service = service
        self._writer = writer
        self._numbers: dict[str, int] | None = None
        self._noted: dict[Pair, int] = {}

    def forget(self) -> None:
        """Let the next transaction read the numbers: whether a failed commit took hold, only the file can say."""
        self._numbers = None
        self._noted = {}

    def add(
        self, db: sqlite3.Connection, groups: Sequence[Sequence[Posted]]
    ) -> tuple[list[list[bool]], list[Outgoing]]:
        """Number and write the events whose keys are new; return of each whether it was, and those that were."""
        posted = [*chain.from_iterable(groups)]
        if not posted:
            return [[] for _ in groups], []
        numbers = self._stored_numbers(db) if self._numbers is None else self._numbers
        are_new, new, self._numbers = numbered(groups, self._taken(db, posted), self._writer, numbers)
        insert(db, "outbox", [(o.writer, o.stream, o.number, self._service, key, o.payload) for key, o in new])
        for stream in {outgoing.stream for _, outgoing in new}:
            db.execute(MOVED, (self._writer, stream, self._service, self._numbers[stream]))
        return are_new, [outgoing for _, outgoing in new]

    def note(self, db: sqlite3.Connection, sent: Mapping[Pair, int]) -> None:
        """Write how far events have been sent, where that is news."""
        for pair, number in self.news(sent).items():
            db.execute(NOTED, (number, *pair))
            self._noted[pair] = number

    def news(self, sent: Mapping[Pair, int]) -> dict[Pair, int]:
        # A copy, since the loop goes on noting.
        return {pair: number for pair, number in dict(sent).items() if number > self._noted.get(pair, 0)}

    def _stored_numbers(self, db: sqlite3.Connection) -> dict[str, int]:
        return dict(db.execute("SELECT stream, number FROM streams WHERE writer = ?", (self._writer,)))

    def _taken(self, db: sqlite3.Connection, posted: Sequence[Posted]) -> set[str]:
        taken: set[str] = set()
        for chunk in chunks(posted):
            found = db.execute(of_keys_sql("key", len(chunk)), (self._service, *(event.key for event in chunk)))
            taken.update(key for (key,) in found)
        return taken


@cache
def of_keys_sql(columns: str, keys: int) -> str:
    marks = ", ".join("?" * keys)
    return f"SELECT {columns} FROM outbox WHERE service = ? AND key IN ({marks})"  # noqa: S608  as in sqlite_rows


# Read on a connection of the reader's own


def stored_events(db: sqlite3.Connection, service: str, keys: Iterable[str]) -> dict[str, Event]:
    found: dict[str, Event] = {}
    for chunk in chunks(list(keys)):
        rows = db.execute(of_keys_sql("key, payload", len(chunk)), (service, *chunk))
        found.update({key: Event.decode(payload) for key, payload in rows})
    return found


def stored_heads(db: sqlite3.Connection, service: str) -> dict[Pair, int]:
    unsent = "SELECT writer, stream, number FROM streams WHERE service = ? AND number > sent"
    return {(writer, stream): number for writer, stream, number in db.execute(unsent, (service,))}


def stored_outgoing(db: sqlite3.Connection, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
    page = "SELECT number, payload FROM outbox WHERE writer = ? AND stream = ? AND number > ? ORDER BY number LIMIT ?"
    rows = db.execute(page, (writer, stream, after, limit))
    return [Outgoing(stream, writer, number, payload) for number, payload in rows]
