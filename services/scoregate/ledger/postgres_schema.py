"""The PostgreSQL ledger's schema: migrations by version, and the partitions of each month."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import chain

import asyncpg

from scoregate.errors import LedgerUnavailable

MIGRATIONS: Sequence[Sequence[str]] = (
    (
        # Heads are written with the entries, so that a cut tail shows; a row comes with a writer's first entry.
        """CREATE TABLE writers (
            writer text PRIMARY KEY,
            service text NOT NULL,
            seq bigint NOT NULL,
            hash bytea NOT NULL
        )""",
        # A value and its salt are NULL once forgotten; its commitment stays, and is NULL where there never was a value.
        # Times are float8, as they are in the hash: a timestamp would round them.
        """CREATE TABLE entries (
            writer text NOT NULL,
            seq bigint NOT NULL,
            format smallint NOT NULL,
            previous_hash bytea NOT NULL,
            hash bytea NOT NULL,
            decision_id text NOT NULL,
            service text NOT NULL,
            request_digest text NOT NULL,
            outcome text NOT NULL,
            source text NOT NULL,
            rung text NOT NULL,
            ages text NOT NULL,
            model_digest text NOT NULL,
            policy_digest text NOT NULL,
            feature_digest text NOT NULL,
            arm text NOT NULL,
            trace_id text NOT NULL,
            score float8,
            event_at float8 NOT NULL,
            decided_at float8 NOT NULL,
            natural_key text, natural_key_salt bytea, natural_key_commitment bytea NOT NULL,
            idempotency_key text, idempotency_key_salt bytea, idempotency_key_commitment bytea,
            vector bytea, vector_salt bytea, vector_commitment bytea NOT NULL,
            answer bytea, answer_salt bytea, answer_commitment bytea NOT NULL,
            PRIMARY KEY (writer, seq, decided_at)
        ) PARTITION BY RANGE (decided_at)""",
        "CREATE INDEX entries_decided_at ON entries (service, decided_at)",
        """CREATE TABLE personal (
            writer text NOT NULL,
            seq bigint NOT NULL,
            decided_at float8 NOT NULL,
            name text NOT NULL,
            value text,
            salt bytea,
            commitment bytea NOT NULL,
            PRIMARY KEY (writer, seq, name, decided_at)
        ) PARTITION BY RANGE (decided_at)""",
        "CREATE INDEX personal_value ON personal (value) WHERE value IS NOT NULL",
        # Never partitioned: a key is unique over all time, whatever becomes of the entries. Decision ids are among
        # them (kind 'decision'), since a partitioned table can hold unique only what its partitions are cut by.
        """CREATE TABLE keys (
            service text NOT NULL,
            kind text NOT NULL,
            key text NOT NULL,
            writer text NOT NULL,
            seq bigint NOT NULL,
            decided_at float8 NOT NULL,
            PRIMARY KEY (service, kind, key)
        )""",
        """CREATE TABLE outbox (
            writer text NOT NULL,
            stream text NOT NULL,
            number bigint NOT NULL,
            service text NOT NULL,
            key text NOT NULL,
            payload bytea NOT NULL,
            PRIMARY KEY (writer, stream, number),
            UNIQUE (service, key)
        )""",
        # One row per writer and stream, so that what is left to send is seen without looking through the events.
        """CREATE TABLE streams (
            writer text NOT NULL,
            stream text NOT NULL,
            service text NOT NULL,
            number bigint NOT NULL,
            sent bigint NOT NULL,
            PRIMARY KEY (writer, stream)
        ) WITH (fillfactor = 50)""",
    ),
    # What another model thought of the same vector.
    ("ALTER TABLE entries ADD COLUMN shadow text",),
)
"""Statements by schema version; `schema_version` says how many have run. Add one, never change one."""

PARTITIONED = ("entries", "personal")
SCHEMA_LOCK = 0x7363_6F72_6567
"""Advisory lock under which the schema is migrated and partitions are made."""

UNBOUNDED = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0"
"""Whoever makes tables may take its time; how long to wait for it is the caller's to say."""

Month = tuple[int, int]


async def migrate(connection: asyncpg.Connection) -> None:
    """Bring the schema to this version, in one transaction, one process at a time.

    Raises:
        LedgerUnavailable: a later version has migrated it.
    """
    async with connection.transaction():
        await connection.execute(UNBOUNDED)
        await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
        await connection.execute("CREATE TABLE IF NOT EXISTS schema_version (version integer NOT NULL)")
        version = await connection.fetchval("SELECT max(version) FROM schema_version") or 0
        if version > len(MIGRATIONS):
            raise LedgerUnavailable(f"The ledger has schema {version}, this version knows {len(MIGRATIONS)}")
        for statement in chain.from_iterable(MIGRATIONS[version:]):
            await connection.execute(statement)
        if version < len(MIGRATIONS):
            await connection.execute("INSERT INTO schema_version VALUES ($1)", len(MIGRATIONS))


def month_of(at_s: float) -> Month:
    """Return year and month, UTC, of seconds since the epoch.

    Raises:
        ValueError: that is no date.
    """
    try:
        at = datetime.fromtimestamp(at_s, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError("an entry's time is no date") from error
    return at.year, at.month


async def make_months(connection: asyncpg.Connection, months: Iterable[Month]) -> None:
    """Make the partitions of these months where there are none.

    They are attached, not created in place: that waits for no reader and no writer of the other months.
    """
    for year, month in sorted(months):
        following = (year + month // 12, month % 12 + 1)
        start_s, end_s = (datetime(*first, 1, tzinfo=UTC).timestamp() for first in ((year, month), following))
        async with connection.transaction():
            await connection.execute(UNBOUNDED)
            await connection.execute("SELECT pg_advisory_xact_lock($1)", SCHEMA_LOCK)
            for table in PARTITIONED:
                name = f"{table}_{year:04}_{month:02}"
                if await connection.fetchval("SELECT to_regclass($1)", name) is None:
                    await connection.execute(f"CREATE TABLE {name} (LIKE {table} INCLUDING ALL EXCLUDING INDEXES)")
                    bounds = f"FOR VALUES FROM ({start_s}) TO ({end_s})"
                    await connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {name} {bounds}")
