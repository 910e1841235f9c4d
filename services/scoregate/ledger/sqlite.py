"""The ledger in one SQLite file: everything that waits is written together, by one thread; reading is beside it."""

from __future__ import annotations

import asyncio
import sqlite3
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

from scoregate.errors import LedgerUnavailable, ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.ledger import GATHER_S, TIMEOUT_S, Appended, Broken, Decision, Entry, Recorded, nobody
from scoregate.ledger.archive import broken_chains
from scoregate.ledger.entry import Sealed, seal
from scoregate.ledger.group import Pair, Place, Places, Posted, Waiting, taken
from scoregate.ledger.rows import COLUMNS, recorded_of
from scoregate.ledger.sqlite_archive import SqliteArchive
from scoregate.ledger.sqlite_file import connect
from scoregate.ledger.sqlite_outbox import stored_events, stored_heads, stored_outgoing
from scoregate.ledger.sqlite_rows import lenient, personal_fields
from scoregate.ledger.sqlite_writer import Outcome, WriterThread
from scoregate.randomness import Randomness

T = TypeVar("T")


class SqliteLedger:
    """A service's ledger in the file `path`; `await start()` before use, or `await SqliteLedger.open(…)`.

    Several processes may share the file: each is a writer with its own chain. `lock_timeout_s` bounds the wait for
    another's transaction, `queue_limit` the entries and events that wait here, `max_batch` those of one transaction;
    events that are posted together stay together and may exceed both.
    """

    on_outgoing: Callable[[Sequence[Outgoing]], None] | None = None
    coming: Callable[[], int] = staticmethod(nobody)

    def __init__(
        self,
        path: Path,
        service: str,
        *,
        max_batch: int = 256,
        queue_limit: int = 4096,
        lock_timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.path = path
        self.service = service
        self.writer = uuid.uuid4().hex
        self._queue_limit = queue_limit
        self._lock_timeout_s = lock_timeout_s
        self._thread = WriterThread(service, self.writer, lock_timeout_s, self._settle_soon)
        self._max_batch = max_batch
        self._gathered: deque[Waiting] = deque()
        self._patience: asyncio.TimerHandle | None = None
        self._awaited = 0
        self._is_writing = False
        self._waiting_rows = 0
        self._sent: dict[Pair, int] = {}
        self._salts = Randomness()
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
        await asyncio.to_thread(self._thread.start, self.path)
        self._closed = False

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        events = [event] if event else []
        self._check(entry, *events)
        appended: Appended = await self._written(seal(entry, self._salts), events)
        return appended

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        if not decisions:
            return []
        self._check(*(one for decision in decisions for one in decision if one))
        written = [(seal(entry, self._salts), [Posted.of(event)] if event else []) for entry, event in decisions]
        places = Places(self._loop.create_future(), len(written))
        self._put(*(Waiting(sealed, posted, Place(places, at)) for at, (sealed, posted) in enumerate(written)))
        return await places.future

    async def record(self, events: Sequence[Event]) -> list[bool]:
        self._check(*events)
        is_new: list[bool] = await self._written(None, events) if events else []
        return is_new

    async def recorded(self, keys: Sequence[str]) -> dict[str, Event]:
        return await asyncio.to_thread(self._read, lambda db: stored_events(db, self.service, keys))

    async def heads(self) -> dict[Pair, int]:
        stored = await asyncio.to_thread(self._read, lambda db: stored_heads(db, self.service))
        return {pair: number for pair, number in stored.items() if number > self._sent.get(pair, 0)}

    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
        return await asyncio.to_thread(self._read, lambda db: stored_outgoing(db, writer, stream, after, limit))

    async def sent(self, writer: str, stream: str, number: int) -> None:
        pair = (writer, stream)
        if number > self._sent.get(pair, 0):
            self._sent[pair] = number
            self._thread.note(pair, number)

    async def get(self, decision_id: str) -> Recorded | None:
        return await asyncio.to_thread(self._one, "decision_id = ?", decision_id)

    async def find(self, natural_key: str) -> Recorded | None:
        """Return the entry that the natural key stands for."""
        of_key = "(writer, seq) = (SELECT writer, seq FROM keys WHERE service = ? AND kind = 'natural' AND key = ?)"
        return await asyncio.to_thread(self._one, of_key, self.service, natural_key)

    async def count(self) -> int:
        own = "SELECT count(*) FROM entries WHERE writer IN (SELECT writer FROM writers WHERE service = ?)"
        return await asyncio.to_thread(self._read, lambda db: int(db.execute(own, (self.service,)).fetchone()[0]))

    async def verify(self) -> list[Broken]:
        return await asyncio.to_thread(self._verified)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        while group := taken(self._gathered, self._max_batch):
            self._thread.put(group)
        await asyncio.to_thread(self._thread.stop)

    # Writing

    def _check(self, *written: Entry | Event) -> None:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        for one in written:
            if one.service != self.service:
                raise ValueError(f"this is the ledger of {self.service}")
        if self._waiting_rows >= self._queue_limit:
            raise LedgerUnavailable(f"{self._waiting_rows} entries and events wait for the ledger already")

    def _written(self, sealed: Sealed | None, events: Sequence[Event]) -> asyncio.Future[Any]:
        # Encoded here, where an event that has no bytes is an error of its caller alone.
        future: asyncio.Future[Any] = self._loop.create_future()
        self._put(Waiting(sealed, [Posted.of(event) for event in events], future))
        return future

    def _put(self, *waiting: Waiting) -> None:
        self._waiting_rows += sum(each.rows for each in waiting)
        self._gathered.extend(waiting)
        if not self._is_writing:
            self._hand_over_in_time()

    def _hand_over_in_time(self) -> None:
        """Let the thread write what is gathered once those have come who were coming, or had time enough."""
        coming = self.coming() if self._waiting_rows < self._max_batch else 0
        if coming and self._patience is None:
            self._awaited = len(self._gathered) + coming
            self._patience = self._loop.call_later(GATHER_S, self._hand_over)
        elif not coming or len(self._gathered) >= self._awaited:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = None
        if self._gathered and not self._is_writing:
            self._is_writing = True
            self._thread.put(taken(self._gathered, self._max_batch))

    def _settle_soon(self, *written: Any) -> None:
        self._loop.call_soon_threadsafe(self._settle, *written)

    def _settle(self, group: Sequence[Waiting], outcomes: Sequence[Outcome], outgoing: Sequence[Outgoing]) -> None:
        self._waiting_rows -= sum(waiting.rows for waiting in group)
        self._is_writing = False
        if self._gathered:
            self._hand_over_in_time()
        try:
            if outgoing and self.on_outgoing:
                self.on_outgoing(outgoing)
        finally:
            for waiting, outcome in zip(group, outcomes, strict=True):
                if waiting.future.done():  # Whoever waited was cancelled; what was written stands all the same.
                    continue
                if isinstance(outcome, Exception):
                    waiting.future.set_exception(outcome)
                else:
                    waiting.future.set_result(outcome)

    # Reading, each time on a connection and in a thread of its own

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

    def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        with self._reader() as db:
            return read(db)

    def _verified(self) -> list[Broken]:
        with closing(SqliteArchive(self.path)) as archive:
            return broken_chains(archive, self.service)

    def _one(self, where: str, *parameters: str) -> Recorded | None:
        with self._reader() as db:
            db.execute("BEGIN")
            columns = ", ".join(COLUMNS)
            one = f"SELECT {columns} FROM entries WHERE service = ? AND {where}"  # noqa: S608  as PAGE
            row = db.execute(one, (self.service, *parameters)).fetchone()
            return recorded_of(row, personal_fields(db, row[0], row[1], row[1]).get(row[1], ())) if row else None
