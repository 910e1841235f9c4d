"""The SQLite ledger's file: its schema by version, and how it is opened, migrated and locked in turn."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from itertools import chain
from pathlib import Path
from typing import IO

from scoregate.errors import LedgerUnavailable

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
    (
        # Events in the order of their numbers, so that both writing and sending run along the end of the table.
        """CREATE TABLE outbox (
            writer TEXT NOT NULL,
            stream TEXT NOT NULL,
            number INTEGER NOT NULL,
            service TEXT NOT NULL,
            key TEXT NOT NULL,
            payload BLOB NOT NULL,
            PRIMARY KEY (writer, stream, number),
            UNIQUE (service, key)
        ) WITHOUT ROWID""",
        # One row per writer and stream, so that what is left to send is seen without looking through the events.
        """CREATE TABLE streams (
            writer TEXT NOT NULL,
            stream TEXT NOT NULL,
            service TEXT NOT NULL,
            number INTEGER NOT NULL,
            sent INTEGER NOT NULL,
            PRIMARY KEY (writer, stream)
        ) WITHOUT ROWID""",
    ),
    (
        # For searching and forgetting by time; entries come in this order, so that it costs a page now and then.
        "CREATE INDEX entries_decided_at ON entries (decided_at)",
    ),
    # What another model thought of the same vector.
    ("ALTER TABLE entries ADD COLUMN shadow TEXT",),
)
"""Statements by schema version; `user_version` says how many have run. Add one, never change one."""

POLL_S = 0.0005
OPEN_TIMEOUT_S = 5.0


def connect(path: Path, *, mode: str, timeout_s: float) -> sqlite3.Connection:
    """Open a connection that begins and ends transactions only where it is told to."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}",
        uri=True,
        timeout=timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )


def open_file(path: Path, timeout_s: float) -> tuple[sqlite3.Connection, IO[bytes]]:
    """Open the file for writing, made and migrated where need be, and the file whose lock is the turn to write."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # SQLite gives its log the rights of the database.
        path.touch(mode=0o600)
        with ExitStack() as opened:
            turn = opened.enter_context(path.with_name(f"{path.name}-turn").open("ab"))
            db = opened.enter_context(closing(connect(path, mode="rwc", timeout_s=timeout_s)))
            # Several processes may open a new file at once, and the change to WAL does not wait for them by itself.
            poll(lambda: fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB), time.monotonic() + OPEN_TIMEOUT_S)
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
    # From here on `poll` waits, more often than SQLite would.
    db.execute("PRAGMA busy_timeout = 0")


def begin(db: sqlite3.Connection, turn: IO[bytes], timeout_s: float) -> None:
    """Begin a transaction that writes: take the file's write lock, in turn.

    SQLite lets writers of several processes poll for its lock, and a busy one takes it again before another looks.
    So a writer waits for it holding the turn, which the last one needs first to come back.
    """
    deadline_s = time.monotonic() + timeout_s
    poll(lambda: fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB), deadline_s)
    try:
        poll(lambda: db.execute("BEGIN IMMEDIATE"), deadline_s)
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)


def poll(attempt: Callable[[], object], deadline_s: float) -> None:
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
