"""The ledger in PostgreSQL: everything that waits is written by one statement; replicas share tables and keys."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from typing import Any, Self

import asyncpg

from scoregate.errors import LedgerUnavailable, ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.ledger import TIMEOUT_S, Appended, Broken, Decision, Entry, Recorded, nobody
from scoregate.ledger.archive import broken_chains
from scoregate.ledger.entry import Sealed, seal
from scoregate.ledger.group import Pair, Posted, Waiting, each
from scoregate.ledger.postgres_archive import PostgresArchive
from scoregate.ledger.postgres_rows import ONE, PERSONAL_FIELDS
from scoregate.ledger.postgres_writer import Outcome, PostgresWriter, session
from scoregate.ledger.rows import recorded_of
from scoregate.randomness import Randomness

READERS = 4
"""Most connections of one process that read; they are opened when they are needed."""


class PostgresLedger:
    """A service's ledger in the database at `url`; `await start()` before use, or `await PostgresLedger.open(…)`.

    `url` is libpq's (`postgresql://user@host/database?sslmode=verify-full`); the tables are in its `search_path`.
    `timeout_s` bounds a transaction, a wait for another's, and a connection; `queue_limit` the entries and events that
    wait here, `max_batch` those of one transaction; events that are posted together may exceed both.
    """

    on_outgoing: Callable[[Sequence[Outgoing]], None] | None = None
    coming: Callable[[], int] = staticmethod(nobody)

    def __init__(
        self, url: str, service: str, *, max_batch: int = 256, queue_limit: int = 4096, timeout_s: float = TIMEOUT_S
    ) -> None:
        self.service = service
        self.writer = uuid.uuid4().hex
        self._url = url
        self._queue_limit = queue_limit
        self._timeout_s = timeout_s
        self._writer = PostgresWriter(
            url, service, self.writer, max_batch, timeout_s, self._settle, self._decisions_coming
        )
        self._readers: asyncpg.Pool | None = None
        self._waiting_rows = 0
        self._sent: dict[Pair, int] = {}
        self._salts = Randomness()
        self._closed = True

    @classmethod
    async def open(cls, url: str, service: str, **limits: Any) -> Self:
        ledger = cls(url, service, **limits)
        try:
            await ledger.start()
        except BaseException:
            await ledger.close()
            raise
        return ledger

    async def start(self) -> None:
        """Create or migrate the tables, then start the writer.

        When the server cannot be reached the ledger is open all the same: it connects once it can.

        Raises:
            LedgerUnavailable: the server cannot be reached (`is_down`), or a later version has migrated its schema.
        """
        self._loop = asyncio.get_running_loop()
        settings = session(f"scoregate-{self.service}-reader", self._timeout_s)
        # With no connection to begin with, this does not connect.
        self._readers = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=READERS,
            timeout=self._timeout_s,
            command_timeout=self._timeout_s,
            server_settings={**settings, "default_transaction_read_only": "on"},
        )
        self._closed = False
        await self._writer.start()

    def _decisions_coming(self) -> int:
        return self.coming()

    @property
    def is_down(self) -> bool:
        """Whether the server did not answer when it was last needed for writing."""
        return self._writer.is_down

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        events = [event] if event else []
        self._check(entry, *events)
        _check_texts(entry.decision_id, entry.natural_key, entry.idempotency_key or "", entry.request_digest)
        appended: Appended = await self._write(seal(entry, self._salts), events)
        return appended

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        return await each(self.append, decisions)

    async def record(self, events: Sequence[Event]) -> list[bool]:
        self._check(*events)
        is_new: list[bool] = await self._write(None, events) if events else []
        return is_new

    async def recorded(self, keys: Sequence[str]) -> dict[str, Event]:
        of_keys = "SELECT key, payload FROM outbox WHERE service = $1 AND key = ANY($2::text[])"
        async with self._reader() as db:
            return {key: Event.decode(raw) for key, raw in await db.fetch(of_keys, self.service, keys)}

    async def heads(self) -> dict[Pair, int]:
        unsent = "SELECT writer, stream, number FROM streams WHERE service = $1 AND number > sent"
        async with self._reader() as db:
            stored = {(writer, stream): number for writer, stream, number in await db.fetch(unsent, self.service)}
        return {pair: number for pair, number in stored.items() if number > self._sent.get(pair, 0)}

    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
        page = """
            SELECT number, payload FROM outbox
            WHERE writer = $1 AND stream = $2 AND number > $3 ORDER BY number LIMIT $4
            """
        async with self._reader() as db:
            return [Outgoing(stream, writer, *row) for row in await db.fetch(page, writer, stream, after, limit)]

    async def sent(self, writer: str, stream: str, number: int) -> None:
        pair = (writer, stream)
        if number > self._sent.get(pair, 0):
            self._sent[pair] = number
            self._writer.note(pair, number)

    async def get(self, decision_id: str) -> Recorded | None:
        return await self._one("decision", decision_id)

    async def find(self, natural_key: str) -> Recorded | None:
        """Return the entry that the natural key stands for."""
        return await self._one("natural", natural_key)

    async def count(self) -> int:
        async with self._reader() as db:
            return int(await db.fetchval("SELECT count(*) FROM entries WHERE service = $1", self.service))

    async def verify(self) -> list[Broken]:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        # In a thread: hashing many entries would hold up every request.
        return await asyncio.to_thread(_verified, self._url, self.service)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        await self._writer.stop()
        if self._readers:
            self._readers.terminate()

    # Writing

    def _check(self, *written: Entry | Event) -> None:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        if any(one.service != self.service for one in written):
            raise ValueError(f"this is the ledger of {self.service}")
        if self._waiting_rows >= self._queue_limit:
            raise LedgerUnavailable(f"{self._waiting_rows} entries and events wait for the ledger already")

    async def _write(self, sealed: Sealed | None, events: Sequence[Event]) -> Any:
        _check_texts(*(text for event in events for text in (event.key, event.stream)))
        # Encoded here, where an event that has no bytes is an error of its caller alone.
        future: asyncio.Future[Any] = self._loop.create_future()
        waiting = Waiting(sealed, [Posted.of(event) for event in events], future)
        self._waiting_rows += waiting.rows
        self._writer.put(waiting)
        return await future

    def _settle(self, group: Sequence[Waiting], outcomes: Sequence[Outcome], outgoing: Sequence[Outgoing]) -> None:
        self._waiting_rows -= sum(waiting.rows for waiting in group)
        try:
            if outgoing and self.on_outgoing:
                self.on_outgoing(outgoing)
        except Exception as error:
            # What is durable is told all the same, and the writer goes on; `heads` has what was not heard.
            self._loop.call_exception_handler({"message": "on_outgoing failed", "exception": error})
        for waiting, outcome in zip(group, outcomes, strict=True):
            if waiting.future.done():  # Whoever waited was cancelled; what was written stands all the same.
                continue
            if isinstance(outcome, Exception):
                waiting.future.set_exception(outcome)
            else:
                waiting.future.set_result(outcome)

    # Reading

    @asynccontextmanager
    async def _reader(self) -> AsyncIterator[asyncpg.Connection]:
        if self._closed or self._readers is None:
            raise LedgerUnavailable("The ledger is closed")
        try:
            async with self._readers.acquire() as db:
                yield db
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise LedgerUnavailable(f"The ledger cannot be read: {type(error).__name__}") from error

    async def _one(self, kind: str, key: str) -> Recorded | None:
        if "\0" in key:
            return None
        async with self._reader() as db, db.transaction(isolation="repeatable_read"):
            row = await db.fetchrow(ONE, self.service, kind, key)
            if row is None:
                return None
            personal = await db.fetch(PERSONAL_FIELDS, row["writer"], row["seq"], row["seq"])
        return recorded_of(tuple(row), [field[1:] for field in map(tuple, personal)])


def _check_texts(*texts: str) -> None:
    if any("\0" in text for text in texts):
        raise ValueError("PostgreSQL keeps no text with a zero character")


def _verified(url: str, service: str) -> list[Broken]:
    with closing(PostgresArchive(url)) as archive:
        return broken_chains(archive, service)
