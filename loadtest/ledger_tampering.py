"""What somebody with the rights of a ledger's database can do to it, on copies of a real one."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import asyncpg

from postgres import Server
from scoregate.ledger import Recorded
from scoregate.ledger.archive import open_archive
from scoregate.ledger.entry import COMMITTED, PLAIN_FLOATS, PLAIN_TEXT, link, seal

TABLES = ("entries", "personal", "keys", "writers", "outbox", "streams")


class Database(ABC):
    """Where a ledger is; `copied` gives another one with the same in it."""

    url: str

    @abstractmethod
    def copied(self, name: str) -> Database: ...

    @abstractmethod
    def run(self, sql: str) -> None:
        """Run statements with bytes written as `{blob:<hex>}`."""

    def chain(self, service: str) -> list[Recorded]:
        """Return the entries of the writer that has most."""
        with closing(open_archive(self.url)) as archive:  # type: ignore[type-var]
            longest = max(archive.writers(service), key=lambda writer: writer.seq)
            return [one for one in archive.stored(longest.writer, 0, longest.seq) if isinstance(one, Recorded)]


class SqliteFile(Database):
    def __init__(self, path: Path) -> None:
        self.path, self.url = path, f"sqlite:///{path}"

    def copied(self, name: str) -> SqliteFile:
        copy = self.path.with_name(f"{name}.db")
        for ending in ("", "-wal"):
            if (part := Path(f"{self.path}{ending}")).exists():
                shutil.copy(part, f"{copy}{ending}")
        return SqliteFile(copy)

    def run(self, sql: str) -> None:
        with closing(sqlite3.connect(self.path)) as db, db:
            db.executescript(sql.replace("{blob:", "x'").replace("}", "'"))


class PostgresDatabase(Database):
    def __init__(self, server: Server, name: str = "postgres") -> None:
        self._server, self._name = server, name
        self._base = server.url.rpartition("/")[0]
        self.url = f"{self._base}/{name}"

    def copied(self, name: str) -> PostgresDatabase:
        # From another database: whoever copies one must not be in it.
        self._server.run(f"CREATE DATABASE {name} TEMPLATE {self._name}", f"{self._base}/template1")
        return PostgresDatabase(self._server, name)

    def run(self, sql: str) -> None:
        async def all_of_them() -> None:
            connection = await asyncpg.connect(self.url)
            try:
                await connection.execute(sql.replace("{blob:", "'\\x").replace("}", "'"))
            finally:
                await connection.close()

        asyncio.run(all_of_them())


def flipped_bit(database: Database, chain: Sequence[Recorded]) -> None:
    middle = chain[len(chain) // 2]
    vector = bytearray(middle.entry.vector)
    vector[0] ^= 1
    database.run(f"UPDATE entries SET vector = {_blob(bytes(vector))} WHERE {_at(middle)}")  # noqa: S608  a copy of ours


def deleted_row(database: Database, chain: Sequence[Recorded]) -> None:
    database.run(f"DELETE FROM entries WHERE {_at(chain[len(chain) // 2])}")  # noqa: S608  as above


def inserted_row(database: Database, chain: Sequence[Recorded]) -> None:
    """A copy of the last entry after it, under an id of its own."""
    last = chain[-1]
    columns = [
        *("format", "previous_hash", "hash", *PLAIN_TEXT[1:], *PLAIN_FLOATS),
        *(f"{name}_commitment" for name in COMMITTED),
    ]
    same = ", ".join(columns)
    database.run(
        f"INSERT INTO entries (writer, seq, decision_id, {same}) SELECT writer, seq + 1, 'inserted', {same} "  # noqa: S608  as above
        f"FROM entries WHERE {_at(last)}"
    )


def rewritten_tail(database: Database, chain: Sequence[Recorded]) -> None:
    """The last three entries say something else, and every hash from there on, and the head, is computed anew."""
    previous = bytes.fromhex(chain[-4].hash)
    for one in chain[-3:]:
        sealed = seal(replace(one.entry, outcome="other"), bytes)
        hash_ = link(previous, sealed.canonical, one.writer, one.seq)
        sets = [f"outcome = 'other', previous_hash = {_blob(previous)}, hash = {_blob(hash_)}"]
        for name, commitment in sealed.commitments.items():
            new = f"salt = {_blob(bytes(16))}", f"commitment = {_blob(commitment)}"
            if name in COMMITTED:
                sets += [f"{name}_{part}" for part in new]
            else:
                field = name.partition(".")[2]
                database.run(f"UPDATE personal SET {', '.join(new)} WHERE {_at(one)} AND name = '{field}'")  # noqa: S608  as above
        database.run(f"UPDATE entries SET {', '.join(sets)} WHERE {_at(one)}")  # noqa: S608  as above
        previous = hash_
    database.run(f"UPDATE writers SET hash = {_blob(previous)} WHERE writer = '{chain[-1].writer}'")  # noqa: S608  as above


def deleted_last_row(database: Database, chain: Sequence[Recorded]) -> None:
    """With everything that leads to it, and the head moved back."""
    last, before = chain[-1], chain[-2]
    for table in ("entries", "personal", "keys"):
        database.run(f"DELETE FROM {table} WHERE {_at(last)}")  # noqa: S608  as above
    head = f"seq = {before.seq}, hash = {_blob(bytes.fromhex(before.hash))}"
    database.run(f"UPDATE writers SET {head} WHERE writer = '{last.writer}'")  # noqa: S608  as above


def removed_writer(database: Database, chain: Sequence[Recorded]) -> None:
    for table in TABLES:
        database.run(f"DELETE FROM {table} WHERE writer = '{chain[0].writer}'")  # noqa: S608  as above


Tamper = Callable[[Database, Sequence[Recorded]], None]
TAMPERINGS: dict[str, tuple[Tamper, Callable[[Sequence[Recorded]], tuple[int, ...]]]] = {
    "flipped_bit": (flipped_bit, lambda chain: (len(chain) // 2 + 1,)),
    "deleted_row": (deleted_row, lambda chain: (len(chain) // 2 + 1,)),
    "inserted_row": (inserted_row, lambda chain: (len(chain) + 1,)),
    # A checkpoint names the first signed entry that is not as it was signed, at or after what was changed.
    "rewritten_tail": (rewritten_tail, lambda chain: (len(chain) - 2, len(chain) - 1, len(chain))),
    "deleted_last_row": (deleted_last_row, lambda chain: (len(chain),)),
    "removed_writer": (removed_writer, lambda _: (1,)),
}
"""What is done, and which entry of the chain may be named for it."""


def _at(recorded: Recorded) -> str:
    return f"writer = '{recorded.writer}' AND seq = {recorded.seq}"


def _blob(value: bytes) -> str:
    return f"{{blob:{value.hex()}}}"
