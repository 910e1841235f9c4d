"""The PostgreSQL ledger's one writer: a task that puts everything that waits into one statement and one commit."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

import asyncpg

from scoregate.errors import LedgerUnavailable
from scoregate.events import Outgoing
from scoregate.features.patience import Patience
from scoregate.ledger import GATHER_S
from scoregate.ledger.entry import GENESIS, Earlier, asked
from scoregate.ledger.group import Decided, Head, Key, Pair, Waiting, chained, due, numbered, outcomes, taken
from scoregate.ledger.postgres_rows import NOTE, STANDING, TAKEN, WRITE, Rows, rows_of
from scoregate.ledger.postgres_schema import Month, make_months, migrate, month_of

Outcome = Decided | list[bool]
Settle = Callable[[Sequence[Waiting], Sequence[Outcome], Sequence[Outgoing]], None]
"""Takes a group that was written, its outcomes, and those of its events that are new."""

AHEAD_S = 7 * 86_400
"""How long before a month begins its partitions are made."""
OPEN_TIMEOUT_S = 10.0
"""How long starting may take, with a schema to migrate and another process that does it."""
NOTE_S = 1.0
"""How often it is written what has been sent: that is a commit of its own."""
RACES = 32
"""Times that others may take keys of one group while it is written; each time at least one of its keys is settled."""


@dataclass(slots=True)
class Standing:
    """Where this writer stands, as the database has it."""

    head: Head
    numbers: dict[str, int]


class Planned(NamedTuple):
    """What a group comes to when it is written."""

    rows: Rows
    outcomes: Sequence[Outcome]
    outgoing: Sequence[Outgoing]
    after: Standing


class PostgresWriter:
    """Writes groups of up to `max_batch` rows in the order they came, and hands each over to `settle`.

    `timeout_s` bounds how long a group may take, reconnecting included; for those that are coming it waits a little.
    """

    def __init__(
        self,
        url: str,
        service: str,
        writer: str,
        max_batch: int,
        timeout_s: float,
        settle: Settle,
        coming: Callable[[], int],
    ) -> None:
        self._url = url
        self._service = service
        self._writer = writer
        self._max_batch = max_batch
        self._timeout_s = timeout_s
        self._settle, self._coming = settle, coming
        self._queue: deque[Waiting] = deque()
        self._woken, self._enough = asyncio.Event(), asyncio.Event()
        self._awaited = 0
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection | None = None
        self._standing = Standing((0, GENESIS), {})
        self._unknown: Planned | None = None
        self._months: set[Month] = set()
        self._sent: dict[Pair, int] = {}
        self._noted: dict[Pair, int] = {}
        self._next_note_s = 0.0
        self._is_migrated = False
        self.is_down = False

    async def start(self) -> None:
        """Connect and start to write. When that fails the writer still starts, and connects when there is a group.

        Raises:
            LedgerUnavailable: the server cannot be reached, or a later version has migrated its schema.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._write_groups(), name=f"ledger-{self._service}")
        try:
            async with asyncio.timeout(OPEN_TIMEOUT_S):
                await self._connected()
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            self._lose()
            raise self._told(error) from error

    def put(self, waiting: Waiting) -> None:
        self._queue.append(waiting)
        self._woken.set()
        if len(self._queue) >= min(self._awaited, self._max_batch) or not self._coming():
            self._enough.set()

    def note(self, pair: Pair, number: int) -> None:
        """Write after the next group, or at the end, how far events have been sent: losing it is harmless."""
        self._sent[pair] = number

    async def stop(self) -> None:
        """Write what waits, and disconnect."""
        self._stopping = True
        self._woken.set()
        self._enough.set()
        if self._task:
            await self._task
        await self._note()
        self._lose()

    async def _write_groups(self) -> None:
        while group := await self._next_group():
            try:
                told, outgoing = await self._write(group)
            except Exception as error:
                # The door of this task: were it to end, every later append would wait for ever.
                told, outgoing = [self._told(error) for _ in group], []
            self._settle(group, told, outgoing)
            if time.monotonic() >= self._next_note_s:
                await self._note()
                self._next_note_s = time.monotonic() + NOTE_S

    async def _next_group(self) -> list[Waiting]:
        """Wait for something to write and take what else has come by then; empty at the end."""
        while not self._queue and not self._stopping:
            self._woken.clear()
            await self._woken.wait()
        await self._gather()
        return taken(self._queue, self._max_batch)

    async def _gather(self) -> None:
        """Let those come who are coming now, for a little while."""
        coming = self._coming()
        if not coming or self._stopping or len(self._queue) >= self._max_batch:
            return
        self._awaited = len(self._queue) + coming
        self._enough.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(GATHER_S):
                await self._enough.wait()

    async def _write(self, group: Sequence[Waiting]) -> tuple[Sequence[Outcome], Sequence[Outgoing]]:
        """Write a group as often as it takes to know that it is written, or that it cannot be."""
        deadline_s = time.monotonic() + self._timeout_s
        self._unknown = None
        races = losses = 0
        while True:
            try:
                with Patience(max(0.0, deadline_s - time.monotonic())):
                    planned = await self._attempt(group)
            except (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                # Another process took a key since it was looked up: now it can be seen whose it is.
                races += 1
                if races > RACES:
                    raise
            except asyncpg.PostgresError as error:
                if _is_outage(error):
                    losses += 1
                    if not self._lose() or losses > 1:
                        raise
                elif (
                    isinstance(error, asyncpg.IntegrityConstraintViolationError | asyncpg.DataError) and len(group) > 1
                ):
                    # What the schema refuses must not take the others with it.
                    alone = [await self._alone(waiting) for waiting in group]
                    return [told for [told], _ in alone], [event for _, events in alone for event in events]
                else:
                    raise
            except (OSError, asyncpg.InterfaceError):
                losses += 1
                if not self._lose() or losses > 1:
                    raise
            else:
                self._standing = planned.after
                self.is_down = False
                return planned.outcomes, planned.outgoing

    async def _alone(self, waiting: Waiting) -> tuple[Sequence[Outcome], Sequence[Outgoing]]:
        try:
            return await self._write([waiting])
        except Exception as error:
            return [self._told(error)], []

    async def _attempt(self, group: Sequence[Waiting]) -> Planned:
        connection = await self._connected()
        if self._unknown:
            unknown, self._unknown = self._unknown, None
            if self._standing == unknown.after:
                return unknown
        planned = await self._planned(connection, group)
        if not planned.rows.are_none:
            await self._make_months(connection, group)
            # From here on until an answer comes nobody but the database knows whether it took hold.
            self._unknown = planned if planned.after != self._standing else None
            try:
                await connection.execute(WRITE, *planned.rows.parameters())
            except asyncpg.PostgresError as error:
                if not _is_outage(error):
                    self._unknown = None
                raise
            self._unknown = None
        return planned

    async def _planned(self, connection: asyncpg.Connection, group: Sequence[Waiting]) -> Planned:
        """Look up what stands, and decide what the group adds to it."""
        sealed = [waiting.sealed for waiting in group if waiting.sealed]
        standing: dict[Key, Earlier] = {}
        decided_at: dict[tuple[str, int], float] = {}
        ids = set()
        if pairs := [pair for one in sealed for pair in (*asked(one.entry), ("decision", one.entry.decision_id))]:
            for kind, key, *earlier, at in await connection.fetch(STANDING, self._service, *zip(*pairs, strict=True)):
                if kind == "decision":
                    ids.add(key)
                else:
                    standing[kind, key] = one = Earlier(*earlier)
                    decided_at[one.writer, one.seq] = at
        added = chained(sealed, standing, self._writer, self._standing.head, ids)
        events = due(group, added.decided)
        taken: set[str] = set()
        if posted := [event.key for one in events for event in one]:
            taken = {key for (key,) in await connection.fetch(TAKEN, self._service, posted)}
        are_new, new, numbers = numbered(events, taken, self._writer, self._standing.numbers)
        return Planned(
            rows_of(self._service, self._writer, added, decided_at, new),
            outcomes(group, added.decided, are_new),
            [outgoing for _, outgoing in new],
            Standing(added.head, numbers),
        )

    async def _make_months(self, connection: asyncpg.Connection, group: Sequence[Waiting]) -> None:
        months = {month_of(waiting.sealed.entry.decided_at) for waiting in group if waiting.sealed}
        months |= {month_of(time.time() + AHEAD_S)}
        if missing := months - self._months:
            await make_months(connection, missing)
            self._months |= missing

    async def _note(self) -> None:
        news = {pair: number for pair, number in self._sent.items() if number > self._noted.get(pair, 0)}
        if not news or self._connection is None:
            return
        rows = [(*pair, number) for pair, number in news.items()]
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._connection.execute(NOTE, *zip(*rows, strict=True))
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            self._lose()
        else:
            self._noted |= news

    # The connection

    async def _connected(self) -> asyncpg.Connection:
        """Return the connection; a new one reads where this writer stands, once the last one's end is certain."""
        if self._connection and not self._connection.is_closed():
            return self._connection
        self._connection = None
        connection = await asyncpg.connect(
            self._url,
            timeout=OPEN_TIMEOUT_S,
            server_settings=session(f"scoregate-{self._service}", self._timeout_s),
        )
        try:
            if not self._is_migrated:
                await migrate(connection)
                await self._make_months(connection, ())
                self._is_migrated = True
            await connection.execute(DURABLE)
            # The lock lasts as long as its session. So once this one has it, whatever the last one was writing has
            # taken hold or never will, also where the client lost a connection that the server still had.
            await connection.execute("SELECT pg_advisory_lock($1)", _lock_of(self._writer))
            row = await connection.fetchrow("SELECT seq, hash FROM writers WHERE writer = $1", self._writer)
            numbers = await connection.fetch("SELECT stream, number FROM streams WHERE writer = $1", self._writer)
        except BaseException:
            connection.terminate()
            raise
        self._standing = Standing((row[0], row[1]) if row else (0, GENESIS), dict(map(tuple, numbers)))
        self._connection = connection
        self.is_down = False
        return connection

    def _lose(self) -> bool:
        """Drop the connection; return whether there was one, so that another may be what is needed."""
        connection, self._connection = self._connection, None
        if connection:
            connection.terminate()
        return connection is not None

    def _told(self, error: Exception) -> LedgerUnavailable:
        """Say what failed without the values that the server may quote."""
        if isinstance(error, OSError | asyncpg.InterfaceError) or _is_outage(error):
            self.is_down = True
        return error if isinstance(error, LedgerUnavailable) else LedgerUnavailable(_said(error))


DURABLE = "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
"""More than `on` (a standby that has applied it) is left as it is."""


def session(name: str, timeout_s: float) -> Mapping[str, str]:
    """Settings of a session, in the server's words."""
    timeout_ms = str(int(timeout_s * 1000))
    return {
        "application_name": name,
        "statement_timeout": timeout_ms,
        "lock_timeout": timeout_ms,
        "idle_in_transaction_session_timeout": timeout_ms,
        # A client that is gone without a word frees its locks after about ten seconds.
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        # From the keys asked for to their rows: whatever is known of the tables' sizes, never a scan of one.
        "enable_seqscan": "off",
        "enable_hashjoin": "off",
        "enable_mergejoin": "off",
        "jit": "off",
        "plan_cache_mode": "force_generic_plan",
    }


def _lock_of(writer: str) -> int:
    return int.from_bytes(sha256(writer.encode()).digest()[:8], "little", signed=True)


def _is_outage(error: BaseException) -> bool:
    """Whether the server, not the statement, is what failed.

    Connection (08), resources (53), shutdown (57P), system (58), a standby in place of the primary (25006), a lock
    that somebody holds too long (55P03), and a statement that took too long (57014).
    """
    state = getattr(error, "sqlstate", None) or ""
    return state[:2] in {"08", "53", "58"} or state[:3] == "57P" or state in {"25006", "55P03", "57014"}


def _said(error: BaseException) -> str:
    """Name an error without its text, which may quote keys."""
    return f"The ledger cannot be written: {type(error).__name__} {getattr(error, 'sqlstate', None) or ''}".rstrip()
