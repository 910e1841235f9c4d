"""The ledger in one SQLite file: one writer thread, one transaction and one fsync for everything that waits."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Self

from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.ledger import Appended, Broken, Entry, Recorded
from scoregate.ledger.entry import GENESIS, Earlier, Sealed, first_broken, keys, link, replay, seal
from scoregate.ledger.sqlite_file import connect, open_file, poll
from scoregate.ledger.sqlite_rows import (
    COLUMNS,
    WRITERS,
    Row,
    chunks,
    entry_row,
    insert_sql,
    lenient,
    personal_fields,
    personal_rows,
    recorded_of,
    standing_sql,
    stored,
)

Waiting = tuple[Sealed, "asyncio.Future[Appended]"]
Outcome = Appended | KeyReused | LedgerUnavailable


class SqliteLedger:
    """A service's ledger in the file `path`; `await start()` before use, or `await SqliteLedger.open(…)`.

    Several processes may share the file: each is a writer with its own chain. `lock_timeout_s` bounds the wait for
    another's transaction, `queue_limit` the entries that wait here, `max_batch` those of one transaction.
    """

    def __init__(
        self, path: Path, service: str, *, max_batch: int = 256, queue_limit: int = 4096, lock_timeout_s: float = 0.5
    ) -> None:
        self.path = path
        self.service = service
        self.writer = uuid.uuid4().hex
        self._max_batch = max_batch
        self._queue_limit = queue_limit
        self._lock_timeout_s = lock_timeout_s
        self._queue: SimpleQueue[Waiting | None] = SimpleQueue()
        self._head: tuple[int, bytes] | None = None
        self._closed = True

    @classmethod
    async def open(cls, path: Path, service: str, **limits: Any) -> Self:
        ledger = cls(path, service, **limits)
        await ledger.start()
        return ledger

    async def start(self) -> None:
        """Create or migrate the file, then start the writer.

        Raises:
            LedgerUnavailable: the file cannot be opened, or a later version has written it.
        """
        self._loop = asyncio.get_running_loop()
        self._db, self._turn = await asyncio.to_thread(open_file, self.path, self._lock_timeout_s)
        self._thread = threading.Thread(target=self._write_groups, name=f"ledger-{self.service}", daemon=True)
        self._thread.start()
        self._closed = False

    async def append(self, entry: Entry) -> Appended:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        if entry.service != self.service:
            raise ValueError(f"this is the ledger of {self.service}")
        if self._queue.qsize() >= self._queue_limit:
            raise LedgerUnavailable(f"{self._queue_limit} entries wait for the ledger already")
        future: asyncio.Future[Appended] = self._loop.create_future()
        self._queue.put((seal(entry), future))
        return await future

    async def get(self, decision_id: str) -> Recorded | None:
        return await asyncio.to_thread(self._one, "decision_id = ?", decision_id)

    async def find(self, natural_key: str) -> Recorded | None:
        """Return the entry that the natural key stands for."""
        of_key = "(writer, seq) = (SELECT writer, seq FROM keys WHERE service = ? AND kind = 'natural' AND key = ?)"
        return await asyncio.to_thread(self._one, of_key, self.service, natural_key)

    async def count(self) -> int:
        return await asyncio.to_thread(self._count)

    async def verify(self) -> list[Broken]:
        return await asyncio.to_thread(self._verify)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # The writer's thread

    def _write_groups(self) -> None:
        while group := self._next_group():
            outcomes = self._commit([sealed for sealed, _ in group])
            with suppress(RuntimeError):  # The loop is gone, and with it everyone who waited.
                self._loop.call_soon_threadsafe(_resolve, [future for _, future in group], outcomes)
        self._db.close()
        self._turn.close()

    def _next_group(self) -> list[Waiting]:
        """Wait for an entry and take what else has come by then; empty at the end."""
        group: list[Waiting] = []
        while (item := self._queue.get()) is not None:
            group.append(item)
            if len(group) == self._max_batch or self._queue.empty():
                return group
        if group:
            self._queue.put(None)
        return group

    def _commit(self, group: Sequence[Sealed]) -> list[Outcome]:
        try:
            return self._transaction(group)
        except sqlite3.IntegrityError as error:
            if len(group) == 1:
                return [LedgerUnavailable(f"The entry was refused: {error}")]
            # One entry that the schema refuses must not take the others with it.
            return [outcome for sealed in group for outcome in self._commit([sealed])]
        except Exception as error:
            # The door of this thread: were it to end, every later append would wait for ever.
            return [LedgerUnavailable(f"The ledger cannot be written: {error}") for _ in group]

    def _transaction(self, group: Sequence[Sealed]) -> list[Outcome]:
        db = self._db
        try:
            self._begin()
            seq, head = self._head or self._stored_head()
            standing = self._standing(group)
            outcomes: list[Outcome] = []
            entries: list[Row] = []
            personal: list[Row] = []
            used: list[Row] = []
            for sealed in group:
                entry = sealed.entry
                pairs = keys(entry)
                if earlier := [standing[pair] for pair in pairs if pair in standing]:
                    try:
                        outcomes.append(replay(entry, earlier))
                    except KeyReused as error:
                        outcomes.append(error)
                        continue
                    decision = earlier[0]
                else:
                    seq, previous = seq + 1, head
                    head = link(previous, sealed.canonical, self.writer, seq)
                    entries.append(entry_row(sealed, self.writer, seq, previous, head))
                    personal += personal_rows(sealed, self.writer, seq)
                    outcomes.append(Appended(entry.decision_id, entry.answer, replayed=False))
                    decision = Earlier(entry.decision_id, entry.request_digest, entry.answer, self.writer, seq)
                # A new key of an answered request is bound too: with another body it must not be free.
                for kind, key in pairs:
                    if (kind, key) not in standing:
                        standing[kind, key] = decision
                        used.append((self.service, kind, key, decision.writer, decision.seq))
            self._insert("entries", entries)
            self._insert("personal", personal)
            self._insert("keys", used)
            if entries:
                db.execute("INSERT OR REPLACE INTO writers VALUES (?, ?, ?, ?)", (self.writer, self.service, seq, head))
            db.execute("COMMIT")
        except BaseException:
            # Whether a failed commit took hold, only the file can say: the next transaction reads the head from it.
            self._head = None
            with suppress(sqlite3.Error):
                db.rollback()
            raise
        self._head = (seq, head)
        return outcomes

    def _begin(self) -> None:
        """Take the file's write lock, in turn.

        SQLite lets writers of several processes poll for its lock, and a busy one takes it again before another looks.
        So a writer waits for it holding the turn, which the last one needs first to come back.
        """
        deadline_s = time.monotonic() + self._lock_timeout_s
        poll(lambda: fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB), deadline_s)
        try:
            poll(lambda: self._db.execute("BEGIN IMMEDIATE"), deadline_s)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _stored_head(self) -> tuple[int, bytes]:
        row = self._db.execute("SELECT seq, hash FROM writers WHERE writer = ?", (self.writer,)).fetchone()
        return row or (0, GENESIS)

    def _standing(self, group: Sequence[Sealed]) -> dict[tuple[str, str], Earlier]:
        """Read which decisions the keys of a group stand for already."""
        standing = {}
        for chunk in chunks([pair for sealed in group for pair in keys(sealed.entry)]):
            found = self._db.execute(standing_sql(len(chunk)), [*chain.from_iterable(chunk), self.service])
            standing.update({(kind, key): Earlier(*decision) for kind, key, *decision in found})
        return standing

    def _insert(self, table: str, rows: Sequence[Row]) -> None:
        for chunk in chunks(rows):
            self._db.execute(insert_sql(table, len(chunk)), [*chain.from_iterable(chunk)])

    # Readers, each on a connection and in a thread of its own

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path, mode="rw", timeout_s=self._lock_timeout_s)) as db:
                db.execute("PRAGMA query_only = ON")
                # A flipped bit may leave text that is not Unicode; `verify` must get to see it.
                db.text_factory = lenient
                yield db
        except sqlite3.Error as error:
            raise LedgerUnavailable(f"The ledger cannot be read: {error}") from error

    def _count(self) -> int:
        own = "SELECT count(*) FROM entries WHERE writer IN (SELECT writer FROM writers WHERE service = ?)"
        with self._reader() as db:
            return int(db.execute(own, (self.service,)).fetchone()[0])

    def _one(self, where: str, *parameters: str) -> Recorded | None:
        with self._reader() as db:
            db.execute("BEGIN")
            columns = ", ".join(COLUMNS)
            one = f"SELECT {columns} FROM entries WHERE service = ? AND {where}"  # noqa: S608  as PAGE
            row = db.execute(one, (self.service, *parameters)).fetchone()
            return recorded_of(row, personal_fields(db, row[0], row[1], row[1]).get(row[1], ())) if row else None

    def _verify(self) -> list[Broken]:
        with self._reader() as db:
            writers = db.execute(WRITERS).fetchall()
            walks = (first_broken(writer, stored(db, writer, end), last, head) for writer, last, head, end in writers)
            return [broken for broken in walks if broken]


def _resolve(futures: Iterable[asyncio.Future[Appended]], outcomes: Iterable[Outcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():  # Whoever waited was cancelled; the entry stands all the same.
            continue
        if isinstance(outcome, Appended):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)
