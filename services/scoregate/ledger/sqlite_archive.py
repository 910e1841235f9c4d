"""The second port on a SQLite file: walks, searches and forgets beside the writers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from itertools import chain
from pathlib import Path

from scoregate.errors import LedgerUnavailable
from scoregate.ledger import Broken, Recorded
from scoregate.ledger.archive import EVERYTHING, Place, Wanted, Writer, conditions
from scoregate.ledger.entry import COMMITTED, FORGOTTEN, keys
from scoregate.ledger.rows import COLUMNS, Row, recorded_of
from scoregate.ledger.sqlite_file import begin, connect, open_file
from scoregate.ledger.sqlite_rows import WRITERS, chunks, lenient, personal_fields, stored

LOCK_TIMEOUT_S = 10.0
_COLUMNS = ", ".join(f"e.{column}" for column in COLUMNS)
_FORGET = f"UPDATE entries SET {', '.join(f'{name} = NULL, {name}_salt = NULL' for name in COMMITTED)}"  # noqa: S608  names
_STRAY = f"""
    SELECT k.writer, min(k.seq), e.decision_id
    FROM keys k LEFT JOIN entries e ON e.writer = k.writer AND e.seq = k.seq
    WHERE k.service = ? AND (
        e.writer IS NULL OR (k.kind = 'natural' AND e.natural_key IS NOT NULL AND e.natural_key <> k.key)
        OR (k.kind = '{FORGOTTEN}' AND (e.request_digest <> k.key OR e.answer_salt IS NOT NULL))
    )
    GROUP BY k.writer
    """  # noqa: S608  a name
_EVENTS = """
    WITH said AS (SELECT writer, stream, number, CAST(payload AS TEXT) AS text FROM outbox WHERE service = ?)
    SELECT writer, stream, number FROM said
    WHERE CASE WHEN json_valid(said.text) THEN json_extract(said.text, '$.known_us') < ?
        OR json_extract(said.text, '$.subject') IN (SELECT value FROM json_each(?)) END
        OR EXISTS (SELECT 1 FROM json_each(?) AS hash WHERE instr(said.text, hash.value) > 0)
    """
_LEFT_KEYS = """
    SELECT k.kind, k.key FROM keys k JOIN entries e ON e.writer = k.writer AND e.seq = k.seq
    WHERE k.service = ? AND e.answer_salt IS NULL AND (k.kind <> ? OR e.decided_at < ?)
    """


class SqliteArchive:
    """Opened where there is a file; nothing is made or migrated until something is to be forgotten."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with _told():
            self._db = connect(path, mode="rw", timeout_s=LOCK_TIMEOUT_S)
            _like_now(self._db)
            self._db.execute("PRAGMA query_only = ON")
            # A flipped bit may leave text that is not Unicode; who verifies must get to see it.
            self._db.text_factory = lenient
            self._db.execute("SELECT count(*) FROM writers WHERE writer IS NULL")

    def close(self) -> None:
        self._db.close()

    # Reading

    def services(self) -> list[str]:
        # A service that only a changed row has is one too: what it hides must be walked.
        return [name for (name,) in self._all("SELECT DISTINCT service FROM writers ORDER BY 1")]

    def count(self, service: str, wanted: Wanted = EVERYTHING) -> int:
        where, values = _conditions(service, wanted)
        return int(self._all(f"SELECT count(*) FROM entries e WHERE {where}", values)[0][0])  # noqa: S608  see there

    def writers(self, service: str) -> list[Writer]:
        return [Writer(*row) for row in self._all(WRITERS, {"service": service})]

    def hash_of(self, writer: str, seq: int) -> bytes | None:
        rows = self._all("SELECT hash FROM entries WHERE writer = ? AND seq = ?", (writer, seq))
        return bytes(rows[0][0]) if rows and isinstance(rows[0][0], bytes) else None

    def first_since(self, writer: str, since_s: float) -> int | None:
        first = "SELECT seq FROM entries WHERE writer = ? AND decided_at >= ? ORDER BY seq LIMIT 1"
        rows = self._all(first, (writer, since_s))
        return int(rows[0][0]) if rows else None

    def stored(self, writer: str, after: int, end: int) -> Iterator[Recorded | Broken]:
        return stored(self._db, writer, after, end)

    def stray_keys(self, service: str) -> list[Broken]:
        return [Broken(writer, seq, id_, _stray(id_)) for writer, seq, id_ in self._all(_STRAY, (service,))]

    def get(self, service: str, decision_id: str) -> Recorded | None:
        one = f"SELECT {_COLUMNS} FROM entries e WHERE e.service = ? AND e.decision_id = ?"  # noqa: S608  names
        found = self._page(one, (service, decision_id))
        return found[0] if found else None

    def search(
        self, service: str, wanted: Wanted, *, after: Place | None = None, limit: int = 500, newest_first: bool = False
    ) -> list[Recorded]:
        where, values = _conditions(service, wanted)
        order, sign = ("DESC", "<") if newest_first else ("ASC", ">")
        if after:
            where += f" AND (e.decided_at, e.writer, e.seq) {sign} (?, ?, ?)"
            values += [after.decided_at, after.writer, after.seq]
        by = f"e.decided_at {order}, e.writer {order}, e.seq {order}"
        return self._page(f"SELECT {_COLUMNS} FROM entries e WHERE {where} ORDER BY {by} LIMIT ?", [*values, limit])  # noqa: S608  names

    def personal_names(self, service: str) -> list[str]:
        own = "writer IN (SELECT writer FROM writers WHERE service = ?)"
        names = f"SELECT DISTINCT name FROM personal WHERE {own} ORDER BY 1"  # noqa: S608  as above
        return [name for (name,) in self._all(names, (service,))]

    def _all(self, sql: str, values: object = ()) -> list[Row]:
        with _told():
            return self._db.execute(sql, values).fetchall()  # type: ignore[arg-type]

    def _page(self, sql: str, values: Sequence[object]) -> list[Recorded]:
        with _told():
            self._db.execute("BEGIN")
            try:
                rows = self._db.execute(sql, values).fetchall()
                return [
                    recorded_of(row, personal_fields(self._db, row[0], row[1], row[1]).get(row[1], ())) for row in rows
                ]
            finally:
                self._db.rollback()

    # Forgetting

    def drop_events(
        self, service: str, *, subjects: Sequence[str] = (), hashes: Sequence[str] = (), before_us: int | None = None
    ) -> int:
        found = self._all(_EVENTS, (service, before_us, json.dumps(subjects), json.dumps(hashes)))
        self._delete("outbox", ("writer", "stream", "number"), found)
        return len(found)

    def forget(self, service: str, entries: Sequence[Recorded], *, stand: bool) -> None:
        places = [(one.writer, one.seq) for one in entries]
        digests = [(service, FORGOTTEN, one.entry.request_digest, one.writer, one.seq) for one in entries if stand]
        taken = [(service, *key) for one in entries for key in keys(one.entry)]
        with _told(), self._writing() as db:
            db.executemany(f"{_FORGET} WHERE writer = ? AND seq = ?", places)
            db.executemany("UPDATE personal SET value = NULL, salt = NULL WHERE writer = ? AND seq = ?", places)
            db.executemany("DELETE FROM keys WHERE service = ? AND kind = ? AND key = ?", taken)
            db.executemany(
                "INSERT OR IGNORE INTO keys (service, kind, key, writer, seq) VALUES (?, ?, ?, ?, ?)", digests
            )

    def drop_keys(self, service: str, before_s: float | None = None) -> int:
        found = [(service, *row) for row in self._all(_LEFT_KEYS, (service, FORGOTTEN, before_s))]
        self._delete("keys", ("service", "kind", "key"), found)
        return sum(kind != FORGOTTEN for _, kind, _ in found)

    def _delete(self, table: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
        """In short transactions, since decisions wait for them."""
        one = f"({' AND '.join(f'{column} = ?' for column in columns)})"
        if not rows:
            return
        with _told(), self._opened() as transaction:
            for chunk in chunks(rows):
                these = " OR ".join([one] * len(chunk))
                with transaction() as db:
                    db.execute(f"DELETE FROM {table} WHERE {these}", [*chain.from_iterable(chunk)])  # noqa: S608  names

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as transaction, transaction() as db:
            yield db

    @contextmanager
    def _opened(self) -> Iterator[Callable[[], AbstractContextManager[sqlite3.Connection]]]:
        """Open the file for writing; what is yielded begins a transaction each time, in turn with the writers."""
        db, turn = open_file(self._path, LOCK_TIMEOUT_S)

        @contextmanager
        def transaction() -> Iterator[sqlite3.Connection]:
            begin(db, turn, LOCK_TIMEOUT_S)
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.rollback()
                raise

        try:
            # What is dropped must not stay readable in pages that the file keeps, or in its log.
            db.execute("PRAGMA secure_delete = ON")
            yield transaction
            with suppress(sqlite3.OperationalError):
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            db.close()
            turn.close()


def _like_now(db: sqlite3.Connection) -> None:
    """Let a file of an earlier schema be read as one of now, without a change to it."""
    known = {name for _, name, *_ in db.execute("PRAGMA table_info(entries)")}
    if known and "shadow" not in known:
        db.execute("CREATE TEMP VIEW entries AS SELECT *, NULL AS shadow FROM main.entries")


def _conditions(service: str, wanted: Wanted) -> tuple[str, list[object]]:
    return conditions(service, wanted, lambda _: "?", "writer, seq")


def _stray(decision_id: str | None) -> str:
    return "a key leads to it, and it is missing" if decision_id is None else "a key leads to it that is not its own"


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise LedgerUnavailable(f"The ledger cannot be read or written: {error}") from error
