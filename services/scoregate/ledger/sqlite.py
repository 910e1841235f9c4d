"""The ledger in one SQLite file: one writer thread, one transaction and one fsync for everything that waits."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from functools import lru_cache
from itertools import chain
from operator import attrgetter
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any, Self, TypeVar

from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.ledger import Appended, Broken, Entry, Recorded
from scoregate.ledger.entry import (
    COMMITTED,
    FORMAT,
    GENESIS,
    PERSONAL,
    PLAIN_FLOATS,
    PLAIN_TEXT,
    Earlier,
    Sealed,
    first_broken,
    keys,
    link,
    replay,
    seal,
)

R = TypeVar("R")
Row = Sequence[Any]
Waiting = tuple[Sealed, "asyncio.Future[Appended]"]
Outcome = Appended | KeyReused | LedgerUnavailable

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # Heads are written with the entries, so that a cut tail shows; a row comes with a writer's first entry.
        """CREATE TABLE writers (
            writer TEXT PRIMARY KEY,
            service TEXT NOT NULL,
            seq INTEGER NOT NULL,
            hash BLOB NOT NULL
        ) WITHOUT ROWID""",
        # A value and its salt are NULL once forgotten; its commitment stays, and is NULL where there never was a value.
        """CREATE TABLE entries (
            writer TEXT NOT NULL,
            seq INTEGER NOT NULL,
            format INTEGER NOT NULL,
            previous_hash BLOB NOT NULL,
            hash BLOB NOT NULL,
            decision_id TEXT NOT NULL UNIQUE,
            service TEXT NOT NULL,
            request_digest TEXT NOT NULL,
            outcome TEXT NOT NULL,
            source TEXT NOT NULL,
            rung TEXT NOT NULL,
            ages TEXT NOT NULL,
            model_digest TEXT NOT NULL,
            policy_digest TEXT NOT NULL,
            feature_digest TEXT NOT NULL,
            arm TEXT NOT NULL,
            trace_id TEXT NOT NULL,
            score REAL,
            event_at REAL NOT NULL,
            decided_at REAL NOT NULL,
            natural_key TEXT, natural_key_salt BLOB, natural_key_commitment BLOB NOT NULL,
            idempotency_key TEXT, idempotency_key_salt BLOB, idempotency_key_commitment BLOB,
            vector BLOB, vector_salt BLOB, vector_commitment BLOB NOT NULL,
            answer BLOB, answer_salt BLOB, answer_commitment BLOB NOT NULL,
            UNIQUE (writer, seq)
        )""",
        """CREATE TABLE personal (
            writer TEXT NOT NULL,
            seq INTEGER NOT NULL,
            name TEXT NOT NULL,
            value TEXT,
            salt BLOB,
            commitment BLOB NOT NULL,
            PRIMARY KEY (writer, seq, name)
        ) WITHOUT ROWID""",
        # Never partitioned: a key is unique over all time, whatever becomes of the entries.
        """CREATE TABLE keys (
            service TEXT NOT NULL,
            kind TEXT NOT NULL,
            key TEXT NOT NULL,
            writer TEXT NOT NULL,
            seq INTEGER NOT NULL,
            PRIMARY KEY (service, kind, key)
        ) WITHOUT ROWID""",
    ),
)
"""Statements by schema version; `user_version` says how many have run. Add one, never change one."""

COLUMNS = (
    *("writer", "seq", "format", "previous_hash", "hash"),
    *(*PLAIN_TEXT, *PLAIN_FLOATS),
    *(f"{name}{part}" for name in COMMITTED for part in ("", "_salt", "_commitment")),
)
INSERTED = {
    "entries": COLUMNS,
    "personal": ("writer", "seq", "name", "value", "salt", "commitment"),
    "keys": ("service", "kind", "key", "writer", "seq"),
}
"""Columns by table, in the order of the rows made here."""

# Each writer with its head and the last entry there is; entries of no known writer come after a head of nothing.
WRITERS = """
    SELECT w.writer, CAST(w.seq AS INTEGER), CAST(w.hash AS BLOB),
        (SELECT max(e.seq) FROM entries e WHERE e.writer = w.writer)
    FROM writers w
    UNION ALL
    SELECT e.writer, 0, zeroblob(32), max(e.seq)
    FROM entries e WHERE e.writer NOT IN (SELECT writer FROM writers) GROUP BY e.writer
    """
PAGE = f"""
    SELECT {", ".join(f"e.{column}" for column in COLUMNS)},
        e.natural_key IS NULL OR (k.writer IS e.writer AND k.seq IS e.seq)
    FROM entries e
    LEFT JOIN keys k ON k.service = e.service AND k.kind = 'natural' AND k.key = e.natural_key
    WHERE e.writer = ? AND e.seq > ? AND e.seq <= ? ORDER BY e.seq LIMIT ?
    """  # noqa: S608  only names from this file are put into statements, values are bound

_plain = attrgetter(*PLAIN_TEXT, *PLAIN_FLOATS)
_committed = attrgetter(*COMMITTED)

CHUNK_ROWS = 64
"""Rows per statement: each statement hands over the interpreter lock, so a group takes few of them."""
POLL_S = 0.0005
OPEN_TIMEOUT_S = 5.0
PAGE_ROWS = 500
"""Entries per read transaction of `verify`: a longer one would keep the write-ahead log from being emptied."""


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
        self._db, self._turn = await asyncio.to_thread(_prepare, self.path, self._lock_timeout_s)
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
                    entries.append(_entry_row(sealed, self.writer, seq, previous, head))
                    personal += _personal_rows(sealed, self.writer, seq)
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
        _poll(lambda: fcntl.flock(self._turn, fcntl.LOCK_EX | fcntl.LOCK_NB), deadline_s)
        try:
            _poll(lambda: self._db.execute("BEGIN IMMEDIATE"), deadline_s)
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    def _stored_head(self) -> tuple[int, bytes]:
        row = self._db.execute("SELECT seq, hash FROM writers WHERE writer = ?", (self.writer,)).fetchone()
        return row or (0, GENESIS)

    def _standing(self, group: Sequence[Sealed]) -> dict[tuple[str, str], Earlier]:
        """Read which decisions the keys of a group stand for already."""
        standing = {}
        for chunk in _chunks([pair for sealed in group for pair in keys(sealed.entry)]):
            found = self._db.execute(_standing_sql(len(chunk)), [*chain.from_iterable(chunk), self.service])
            standing.update({(kind, key): Earlier(*decision) for kind, key, *decision in found})
        return standing

    def _insert(self, table: str, rows: Sequence[Row]) -> None:
        for chunk in _chunks(rows):
            self._db.execute(_insert_sql(table, len(chunk)), [*chain.from_iterable(chunk)])

    # Readers, each on a connection and in a thread of its own

    @contextmanager
    def _reader(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(_connect(self.path, mode="rw", timeout_s=self._lock_timeout_s)) as db:
                db.execute("PRAGMA query_only = ON")
                # A flipped bit may leave text that is not Unicode; `verify` must get to see it.
                db.text_factory = _lenient
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
            return _recorded(row, _personal(db, row[0], row[1], row[1]).get(row[1], ())) if row else None

    def _verify(self) -> list[Broken]:
        with self._reader() as db:
            writers = db.execute(WRITERS).fetchall()
            walks = (first_broken(writer, _stored(db, writer, end), last, head) for writer, last, head, end in writers)
            return [broken for broken in walks if broken]


def _resolve(futures: Iterable[asyncio.Future[Appended]], outcomes: Iterable[Outcome]) -> None:
    for future, outcome in zip(futures, outcomes, strict=True):
        if future.done():  # Whoever waited was cancelled; the entry stands all the same.
            continue
        if isinstance(outcome, Appended):
            future.set_result(outcome)
        else:
            future.set_exception(outcome)


def _connect(path: Path, *, mode: str, timeout_s: float) -> sqlite3.Connection:
    """Open a connection that begins and ends transactions only where it is told to."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def _prepare(path: Path, timeout_s: float) -> tuple[sqlite3.Connection, IO[bytes]]:
    """Open the file for writing, made and migrated where need be, and the file whose lock is the turn to write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as opened:
            turn = opened.enter_context(path.with_name(f"{path.name}-turn").open("ab"))
            db = opened.enter_context(closing(_connect(path, mode="rwc", timeout_s=timeout_s)))
            # Several processes may open a new file at once, and the change to WAL does not wait for them by itself.
            _poll(lambda: fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB), time.monotonic() + OPEN_TIMEOUT_S)
            _migrate(db)
            fcntl.flock(turn, fcntl.LOCK_UN)
            _sync_folder(path.parent)
            opened.pop_all()
            return db, turn
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"The ledger cannot be opened: {error}") from error


def _migrate(db: sqlite3.Connection) -> None:
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("BEGIN IMMEDIATE")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version > len(MIGRATIONS):
        raise LedgerUnavailable(f"The ledger has schema {version}, this version knows {len(MIGRATIONS)}")
    for statement in chain.from_iterable(MIGRATIONS[version:]):
        db.execute(statement)
    db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    db.execute("COMMIT")
    # From here on `_poll` waits, more often than SQLite would.
    db.execute("PRAGMA busy_timeout = 0")


def _poll(attempt: Callable[[], object], deadline_s: float) -> None:
    """Try for a lock until monotonic time `deadline_s`; then let its refusal through."""
    while True:
        try:
            attempt()
        except (BlockingIOError, sqlite3.OperationalError) as error:
            is_locked = isinstance(error, BlockingIOError) or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_locked or time.monotonic() >= deadline_s:
                raise
            time.sleep(POLL_S)
        else:
            return


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable: SQLite does so for its log, not for the database."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _chunks(rows: Sequence[R]) -> Iterator[Sequence[R]]:
    """Cut rows into powers of two, so that a few prepared statements serve every size of group."""
    start = 0
    while start < len(rows):
        size = 1 << min(len(rows) - start, CHUNK_ROWS).bit_length() - 1
        yield rows[start : start + size]
        start += size


def _values(columns: int, rows: int) -> str:
    return "VALUES " + ", ".join([f"({', '.join('?' * columns)})"] * rows)


@lru_cache
def _insert_sql(table: str, rows: int) -> str:
    columns = INSERTED[table]
    return f"INSERT INTO {table} ({', '.join(columns)}) {_values(len(columns), rows)}"


@lru_cache
def _standing_sql(pairs: int) -> str:
    # CROSS JOIN: from the keys asked for to their rows, never a scan of the table.
    return f"""
        WITH asked (kind, key) AS ({_values(2, pairs)})
        SELECT k.kind, k.key, e.decision_id, e.request_digest, e.answer, e.writer, e.seq
        FROM asked
        CROSS JOIN keys k ON k.kind = asked.kind AND k.key = asked.key AND k.service = ?
        CROSS JOIN entries e ON e.writer = k.writer AND e.seq = k.seq
        """  # noqa: S608  as PAGE


def _entry_row(sealed: Sealed, writer: str, seq: int, previous: bytes, head: bytes) -> Row:
    salts, commitments = sealed.salts, sealed.commitments
    row = [writer, seq, FORMAT, previous, head, *_plain(sealed.entry)]
    for name, value in zip(COMMITTED, _committed(sealed.entry), strict=True):
        row += (value, salts.get(name), commitments.get(name))
    return row


def _personal_rows(sealed: Sealed, writer: str, seq: int) -> list[Row]:
    salts, commitments = sealed.salts, sealed.commitments
    return [
        (writer, seq, name, value, salts[PERSONAL + name], commitments[PERSONAL + name])
        for name, value in sealed.entry.personal.items()
    ]


def _stored(db: sqlite3.Connection, writer: str, end: int | None) -> Iterator[tuple[Recorded, int] | Broken]:
    """Yield one writer's entries up to `end`, each with its format, in short read transactions."""
    seq, size = -1 << 63, PAGE_ROWS
    while True:
        try:
            db.execute("BEGIN")
            page = db.execute(PAGE, (writer, seq, end, size)).fetchall()
            personal = _personal(db, writer, page[0][1], page[-1][1]) if page else {}
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
                recorded = _recorded(row, personal.get(row[1], ()))
            except (AttributeError, TypeError, ValueError):
                yield Broken(writer, max(seq, 0) + 1, None, "it cannot be read")
                return
            seq = recorded.seq
            yield recorded, row[2]
            if not is_keyed:
                yield Broken(writer, seq, recorded.entry.decision_id, "its natural key does not lead to it")


def _personal(db: sqlite3.Connection, writer: str, first: int, last: int) -> dict[int, list[Row]]:
    """Read the personal fields of some entries, by seq: name, value, salt, commitment."""
    fields: dict[int, list[Row]] = {}
    for seq, *field in db.execute(
        "SELECT seq, name, value, salt, commitment FROM personal WHERE writer = ? AND seq BETWEEN ? AND ?",
        (writer, first, last),
    ):
        fields.setdefault(seq, []).append(field)
    return fields


def _recorded(row: Row, personal: Iterable[Row]) -> Recorded:
    at = dict(zip(COLUMNS, row, strict=True))
    parts = [(name, at[f"{name}_salt"], at[f"{name}_commitment"]) for name in COMMITTED]
    parts += [(PERSONAL + name, salt, commitment) for name, _, salt, commitment in personal]
    return Recorded(
        entry=Entry(
            **{name: at[name] for name in (*PLAIN_TEXT, *PLAIN_FLOATS, "idempotency_key")},
            natural_key=at["natural_key"] or "",
            vector=at["vector"] or b"",
            answer=at["answer"] or b"",
            personal={name: value for name, value, _, _ in personal if value is not None},
        ),
        writer=at["writer"],
        seq=int(at["seq"]),
        previous_hash=at["previous_hash"].hex(),
        hash=at["hash"].hex(),
        salts={name: salt.hex() for name, salt, _ in parts if salt is not None},
        commitments={name: digest.hex() for name, _, digest in parts if digest is not None},
    )


def _lenient(text: bytes) -> str:
    return text.decode(errors="backslashreplace")
