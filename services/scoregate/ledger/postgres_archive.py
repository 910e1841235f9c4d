"""The second port on PostgreSQL: walks, searches and forgets beside the writers."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from typing import Any, Final, TypeVar

import asyncpg

from scoregate.errors import LedgerUnavailable
from scoregate.ledger import Broken, Recorded
from scoregate.ledger.archive import EVERYTHING, Place, Wanted, Writer, conditions
from scoregate.ledger.entry import COMMITTED, FORGOTTEN, keys
from scoregate.ledger.postgres_rows import ONE, PAGE, PERSONAL_FIELDS, PERSONAL_OF, WRITERS
from scoregate.ledger.rows import COLUMNS, Row, recorded_of

T = TypeVar("T")

PAGE_ROWS: Final = 500
CONNECT_TIMEOUT_S: Final = 10.0
_COLUMNS = ", ".join(f"e.{column}" for column in COLUMNS)
_PLACES = "unnest($1::text[], $2::bigint[], $3::float8[]) AS f (writer, seq, decided_at)"
_AT = "(t.writer, t.seq, t.decided_at) = (f.writer, f.seq, f.decided_at)"
_NOTHING = ", ".join(f"{name} = NULL, {name}_salt = NULL" for name in COMMITTED)
_EARLIER = """
    SELECT WHERE to_regclass('entries') IS NOT NULL
        AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = to_regclass('entries') AND attname = 'shadow')
    """
_FORGET = (
    f"UPDATE entries t SET {_NOTHING} FROM {_PLACES} WHERE {_AT}",  # noqa: S608  names from here
    f"UPDATE personal t SET value = NULL, salt = NULL FROM {_PLACES} WHERE {_AT}",  # noqa: S608  as above
)
_DROP_KEYS = """
    DELETE FROM keys k USING unnest($2::text[], $3::text[]) AS f (kind, key)
    WHERE (k.service, k.kind, k.key) = ($1, f.kind, f.key)
    """
_KEEP_DIGESTS = f"""
    INSERT INTO keys (service, kind, key, writer, seq, decided_at)
    SELECT t.service, '{FORGOTTEN}', t.request_digest, t.writer, t.seq, t.decided_at
    FROM entries t JOIN {_PLACES} ON {_AT} ORDER BY 3 ON CONFLICT DO NOTHING
    """  # noqa: S608  as above
_STRAY = f"""
    SELECT DISTINCT ON (k.writer) k.writer, k.seq, e.decision_id
    FROM keys k LEFT JOIN entries e ON (e.writer, e.seq, e.decided_at) = (k.writer, k.seq, k.decided_at)
    WHERE k.service = $1 AND (
        e.writer IS NULL
        OR (k.kind = 'natural' AND e.natural_key IS NOT NULL AND e.natural_key <> k.key)
        OR (k.kind = 'decision' AND e.decision_id <> k.key)
        OR (k.kind = '{FORGOTTEN}' AND (e.request_digest <> k.key OR e.answer_salt IS NOT NULL))
    ) ORDER BY k.writer, k.seq
    """  # noqa: S608  a name
_DROP_EVENTS = """
    DELETE FROM outbox WHERE service = $1 AND (
        (convert_from(payload, 'UTF8')::json ->> 'known_us')::bigint < $2
        OR convert_from(payload, 'UTF8')::json ->> 'subject' = ANY($3::text[])
        OR EXISTS (SELECT FROM unnest($4::bytea[]) AS hash WHERE position(hash IN payload) > 0)
    )
    """
_LEFT_KEYS = """
    DELETE FROM keys k USING entries e
    WHERE k.service = $1 AND k.kind <> 'decision' AND e.answer_salt IS NULL
        AND (k.kind <> $2 OR k.decided_at < $3)
        AND (e.writer, e.seq, e.decided_at) = (k.writer, k.seq, k.decided_at)
    RETURNING k.kind
    """


class PostgresArchive:
    """One connection, on an event loop of its own: not for a thread that runs one already."""

    def __init__(self, url: str) -> None:
        self._runner = asyncio.Runner()
        try:
            self._db = self._run(_connected(url))
        except BaseException:
            self._runner.close()
            raise

    def close(self) -> None:
        try:
            self._db.terminate()
        finally:
            self._runner.close()

    # Reading

    def services(self) -> list[str]:
        return [row[0] for row in self._all("SELECT DISTINCT service FROM writers ORDER BY 1")]

    def count(self, service: str, wanted: Wanted = EVERYTHING) -> int:
        where, values = _conditions(service, wanted)
        return int(self._all(f"SELECT count(*) FROM entries e WHERE {where}", *values)[0][0])  # noqa: S608  names

    def writers(self, service: str) -> list[Writer]:
        return [Writer(*row) for row in self._all(WRITERS, service)]

    def hash_of(self, writer: str, seq: int) -> bytes | None:
        rows = self._all("SELECT hash FROM entries WHERE writer = $1 AND seq = $2", writer, seq)
        return rows[0][0] if rows else None

    def first_since(self, writer: str, since_s: float) -> int | None:
        first = "SELECT min(seq) FROM entries WHERE writer = $1 AND decided_at >= $2"
        return self._all(first, writer, since_s)[0][0]  # type: ignore[no-any-return]

    def stored(self, writer: str, after: int, end: int) -> Iterator[Recorded | Broken]:
        # By time too: a month may hold a second row of the same seq.
        seq, at, size = after, float("inf"), PAGE_ROWS
        while True:
            try:
                page, personal = self._run(self._stored_page(writer, seq, at, end, size))
            except _Damaged as damage:
                if size == 1:
                    yield Broken(writer, max(seq, 0) + 1, None, f"the table is damaged there: {damage}")
                    return
                size = 1  # To name the entry, not the page.
                continue
            if not page:
                return
            fields: dict[int, list[Sequence[Any]]] = {}
            for place, *field in personal:
                fields.setdefault(place, []).append(field)
            for *row, is_keyed in page:
                recorded = recorded_of(row, fields.get(row[1], ()))
                seq, at = recorded.seq, recorded.entry.decided_at
                yield recorded
                if not is_keyed:
                    yield Broken(writer, seq, recorded.entry.decision_id, "its keys do not lead to it")

    async def _stored_page(self, writer: str, seq: int, at: float, end: int, size: int) -> tuple[list[Row], list[Row]]:
        try:
            async with self._db.transaction(isolation="repeatable_read", readonly=True):
                # From key to row, whatever the planner knows of the tables' sizes.
                await self._db.execute("SET LOCAL enable_seqscan = off")
                page = await self._db.fetch(PAGE, writer, seq, at, end, size)
                bounds = (writer, page[0]["seq"], page[-1]["seq"]) if page else ()
                return page, await self._db.fetch(PERSONAL_FIELDS, *bounds) if page else []
        except (asyncpg.DataError, asyncpg.InternalServerError) as error:
            raise _Damaged(type(error).__name__) from error

    def stray_keys(self, service: str) -> list[Broken]:
        return [Broken(writer, seq, id_, _stray(id_)) for writer, seq, id_ in self._all(_STRAY, service)]

    def get(self, service: str, decision_id: str) -> Recorded | None:
        found = self._page(ONE, service, "decision", decision_id) if "\0" not in decision_id else []
        return found[0] if found else None

    def search(
        self, service: str, wanted: Wanted, *, after: Place | None = None, limit: int = 500, newest_first: bool = False
    ) -> list[Recorded]:
        where, values = _conditions(service, wanted)
        order, sign = ("DESC", "<") if newest_first else ("ASC", ">")
        n = len(values)
        if after:
            where += f" AND (e.decided_at, e.writer, e.seq) {sign} (${n + 1}, ${n + 2}, ${n + 3})"
            # The same once more for the index, which has the time alone.
            where += f" AND e.decided_at {sign}= ${n + 1}"
            values += [after.decided_at, after.writer, after.seq]
        by = f"e.decided_at {order}, e.writer {order}, e.seq {order}"
        page = f"SELECT {_COLUMNS} FROM entries e WHERE {where} ORDER BY {by} LIMIT {int(limit)}"  # noqa: S608  names
        return self._page(page, *values)

    def personal_names(self, service: str) -> list[str]:
        names = """
            SELECT DISTINCT name FROM personal p
            WHERE EXISTS (SELECT FROM writers w WHERE w.writer = p.writer AND w.service = $1) ORDER BY 1
            """
        return [row[0] for row in self._all(names, service)]

    def _page(self, sql: str, *values: object) -> list[Recorded]:
        async def read() -> tuple[list[Any], list[Row]]:
            async with self._db.transaction(isolation="repeatable_read", readonly=True):
                rows = await self._db.fetch(sql, *values)
                places = [(row["writer"], row["seq"], row["decided_at"]) for row in rows]
                return rows, await self._db.fetch(PERSONAL_OF, *zip(*places, strict=True)) if places else []

        rows, personal = self._run(read())
        fields: dict[tuple[str, int], list[Sequence[Any]]] = {}
        for writer, seq, *field in personal:
            fields.setdefault((writer, seq), []).append(field)
        return [recorded_of(tuple(row), fields.get((row["writer"], row["seq"]), ())) for row in rows]

    # Forgetting

    def drop_events(
        self, service: str, *, subjects: Sequence[str] = (), hashes: Sequence[str] = (), before_us: int | None = None
    ) -> int:
        looked_for = [one.encode() for one in hashes]
        return _rows(self._run(self._db.execute(_DROP_EVENTS, service, before_us, list(subjects), looked_for)))

    def forget(self, service: str, entries: Sequence[Recorded], *, stand: bool) -> None:
        places = [(one.writer, one.seq, one.entry.decided_at) for one in entries]
        taken = sorted(key for one in entries for key in keys(one.entry))

        async def write() -> None:
            async with self._db.transaction():
                for statement in _FORGET:
                    await self._db.execute(statement, *zip(*places, strict=True))
                await self._db.execute(_DROP_KEYS, service, *zip(*taken, strict=True))
                if stand:
                    await self._db.execute(_KEEP_DIGESTS, *zip(*places, strict=True))

        if places:
            self._run(write())

    def drop_keys(self, service: str, before_s: float | None = None) -> int:
        return sum(kind != FORGOTTEN for (kind,) in self._all(_LEFT_KEYS, service, FORGOTTEN, before_s))

    def _all(self, sql: str, *values: object) -> list[Row]:
        return [tuple(row) for row in self._run(self._db.fetch(sql, *values))]

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        try:
            return self._runner.run(work)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise LedgerUnavailable(f"The ledger cannot be read or written: {type(error).__name__}") from error


async def _connected(url: str) -> asyncpg.Connection:
    settings = {"application_name": "scoregate-archive", "jit": "off"}
    db = await asyncpg.connect(url, timeout=CONNECT_TIMEOUT_S, server_settings=settings)
    if await db.fetch(_EARLIER):
        db.terminate()
        raise LedgerUnavailable("The ledger's schema is an earlier one; `scoregate ledger migrate` renews it")
    return db


class _Damaged(Exception):
    """Rows that the server cannot give."""


def _conditions(service: str, wanted: Wanted) -> tuple[str, list[object]]:
    return conditions(service, wanted, lambda n: f"${n}", "writer, seq, decided_at")


def _stray(decision_id: str | None) -> str:
    return "a key leads to it, and it is missing" if decision_id is None else "a key leads to it that is not its own"


def _rows(status: str) -> int:
    return int(status.rpartition(" ")[2])
