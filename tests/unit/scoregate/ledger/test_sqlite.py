"""What only a ledger in a file must stand: tampering, kills, several writers, full disks, held locks."""

from __future__ import annotations

import asyncio
import fcntl
import sqlite3
import subprocess
import sys
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest

import scoregate
from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.events import Effect, Event, Outgoing
from scoregate.ledger import Appended, Entry, sqlite, sqlite_writer
from scoregate.ledger.entry import GENESIS, link, seal
from scoregate.ledger.opening import TIMEOUT_S, open_ledger
from scoregate.ledger.sqlite import SqliteLedger
from scoregate.ledger.sqlite_chain import Chain
from scoregate.ledger.sqlite_file import MIGRATIONS
from scoregate.ledger.sqlite_rows import COLUMNS

T = TypeVar("T")

ENTRY = Entry(
    decision_id="decision-0",
    service="fraud",
    natural_key="txn-0",
    idempotency_key="idem-0",
    request_digest="digest-0",
    outcome="approve",
    score=0.25,
    source="model",
    rung="full",
    vector=bytes(range(24)),
    ages="{}",
    personal={"account_id": "k1:beef", "device_id": "k1:cafe"},
    answer=b'{"outcome":"approve"}',
    model_digest="m",
    policy_digest="p",
    feature_digest="f",
    arm="stable",
    trace_id="tr",
    event_at=1_700_000_000.25,
    decided_at=1_700_000_000.5,
)


def entry(number: int) -> Entry:
    return replace(
        ENTRY,
        decision_id=f"decision-{number}",
        natural_key=f"txn-{number}",
        idempotency_key=f"idem-{number}",
        request_digest=f"digest-{number}",
    )


def event(number: int) -> Event:
    key = f"count:txn-{number}"
    return Event("fraud", "transactions", Effect.COUNT, key, f"txn-{number}", 1_700_000_000_250_000, 1, {"a": number})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fraud.db"


def using(path: Path, story: Callable[[SqliteLedger], Awaitable[T]], *, lock_timeout_s: float = 10.0) -> T:
    async def told() -> T:
        ledger = await SqliteLedger.open(path, "fraud", lock_timeout_s=lock_timeout_s, max_batch=8, queue_limit=8)
        try:
            return await story(ledger)
        finally:
            await ledger.close()

    return asyncio.run(told())


def fill(path: Path, count: int = 5) -> None:
    """Write decisions 1 to `count`, whose seq is their number."""

    async def story(ledger: SqliteLedger) -> None:
        for number in range(1, count + 1):
            await ledger.append(entry(number))

    using(path, story)


def tamper(path: Path, sql: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        assert db.execute(sql, parameters).rowcount > 0


def verified(path: Path) -> list[tuple[int, str | None, str]]:
    return [(one.seq, one.decision_id, one.why) for one in using(path, lambda ledger: ledger.verify())]


def held(path: Path) -> sqlite3.Connection:
    """Hold the write lock, as another process in its transaction does."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    return db


async def started(*waiting: Coroutine[None, None, Appended]) -> list[asyncio.Task[Appended]]:
    """Start appends and let each of them get as far as the queue."""
    tasks = [asyncio.create_task(one) for one in waiting]
    await asyncio.sleep(0)
    return tasks


# Tampering


def flipped(value: Any) -> Any:
    """Flip one bit, or the nearest thing to it."""
    if isinstance(value, bytes):
        return bytes([value[0] ^ 1, *value[1:]])
    if value is None:
        return "x"
    return f"{value}x" if isinstance(value, str) else value + 2**-20 if isinstance(value, float) else value + 1


@pytest.mark.parametrize("column", [column for column in COLUMNS if column != "seq"])
def test_a_change_in_any_column_is_found_and_named(path: Path, column: str) -> None:
    """One flipped bit anywhere in an entry breaks its writer's chain there."""
    fill(path)
    with closing(sqlite3.connect(path)) as db:
        (value,) = db.execute(f"SELECT {column} FROM entries WHERE seq = 3").fetchone()
    tamper(path, f"UPDATE entries SET {column} = ? WHERE seq = 3", flipped(value))

    # A row under another writer's name is missing from its own chain, and no one's at its new place.
    assert {"writer": [None, None], "decision_id": ["decision-3x"]}.get(column, ["decision-3"]) == [
        decision_id for seq, decision_id, _ in verified(path)
    ]
    assert {3} <= {seq for seq, *_ in verified(path)} <= {1, 3}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE personal SET value = 'k1:dead' WHERE seq = 3 AND name = 'device_id'",
        "UPDATE personal SET salt = zeroblob(16) WHERE seq = 3 AND name = 'device_id'",
        "UPDATE personal SET commitment = zeroblob(32) WHERE seq = 3 AND name = 'device_id'",
        "UPDATE personal SET value = NULL WHERE seq = 3",
        "DELETE FROM personal WHERE seq = 3 AND name = 'device_id'",
        "INSERT INTO personal SELECT writer, seq, 'email', value, salt, commitment FROM personal WHERE seq = 3 LIMIT 1",
        "UPDATE keys SET seq = 4 WHERE key = 'txn-3'",
        "DELETE FROM keys WHERE key = 'txn-3'",
        "UPDATE entries SET outcome = CAST(X'FF' AS TEXT) WHERE seq = 3",
        "UPDATE entries SET answer = 'text' WHERE seq = 3",
        "UPDATE entries SET score = 'text' WHERE seq = 3",
        "UPDATE entries SET idempotency_key = NULL WHERE seq = 3",
        "UPDATE entries SET vector_salt = NULL WHERE seq = 3",
    ],
)
def test_tampering_beside_the_columns_is_found_and_named(path: Path, sql: str) -> None:
    """Personal fields, keys, types and half a forgetting are covered like the rest."""
    fill(path)
    tamper(path, sql)

    assert [(3, "decision-3")] == [(seq, decision_id) for seq, decision_id, _ in verified(path)]


def test_a_value_of_another_type_is_found(path: Path) -> None:
    """What cannot even be read is reported at its place, and does not end the walk with an error."""
    fill(path)
    tamper(path, "UPDATE entries SET hash = 5 WHERE seq = 3")

    assert [(3, None, "it cannot be read")] == verified(path)


@pytest.mark.parametrize(
    ("seq", "why"),
    [(1, "it is missing"), (3, "it is missing"), (5, "it is missing, and all after it")],
)
def test_a_deleted_row_is_found(path: Path, seq: int, why: str) -> None:
    """The first row, one within and the last one are missed alike."""
    fill(path)
    tamper(path, "DELETE FROM entries WHERE seq = ?", seq)

    assert [(seq, None, why)] == verified(path)


@pytest.mark.parametrize(("seq", "first"), [(6, 6), (7, 6), (0, 0)])
def test_an_inserted_row_is_found(path: Path, seq: int, first: int) -> None:
    """A forged row is found behind the last one, after a gap, and before the first."""
    fill(path)
    columns = ", ".join(COLUMNS)
    values = columns.replace("seq", "?", 1).replace("decision_id", "'forged'")
    tamper(path, f"INSERT INTO entries ({columns}) SELECT {values} FROM entries WHERE seq = 5", seq)

    assert [first] == [found for found, *_ in verified(path)]


def test_an_inserted_writer_is_found(path: Path) -> None:
    """Entries of a writer that never left a head are nobody's."""
    fill(path)
    columns = ", ".join(COLUMNS)
    values = columns.replace("writer", "'nobody'", 1).replace("decision_id", "'forged'")
    tamper(path, f"INSERT INTO entries ({columns}) SELECT {values} FROM entries WHERE seq = 1")

    assert [("nobody", 1)] == [(one.writer, one.seq) for one in using(path, lambda ledger: ledger.verify())]


def test_a_rewritten_tail_is_found(path: Path) -> None:
    """A last entry that was rewritten with its commitments and hash still differs from its writer's head."""
    fill(path)
    recorded = using(path, lambda ledger: ledger.get("decision-5"))
    assert recorded
    sealed = seal(replace(recorded.entry, outcome="decline"))
    forged = link(bytes.fromhex(recorded.previous_hash), sealed.canonical, recorded.writer, 5)
    for name, salt in sealed.salts.items():
        at = (salt, sealed.commitments[name])
        if name.startswith("personal."):
            of_name = "UPDATE personal SET salt = ?, commitment = ? WHERE seq = 5 AND name = ?"
            tamper(path, of_name, *at, name.removeprefix("personal."))
        else:
            tamper(path, f"UPDATE entries SET {name}_salt = ?, {name}_commitment = ? WHERE seq = 5", *at)
    tamper(path, "UPDATE entries SET outcome = 'decline', hash = ? WHERE seq = 5", forged)

    assert [(5, "decision-5", "it is not the head that its writer left")] == verified(path)


def test_each_broken_chain_is_named(path: Path) -> None:
    """A fault in one writer's chain hides none in another's."""
    fill(path, 3)
    using(path, lambda ledger: ledger.append(entry(4)))
    tamper(path, "UPDATE entries SET outcome = 'decline' WHERE decision_id IN ('decision-2', 'decision-4')")

    assert {(2, "decision-2"), (1, "decision-4")} == {(seq, decision_id) for seq, decision_id, _ in verified(path)}


def test_forgetting_keeps_the_chain(path: Path) -> None:
    """With values and salts dropped the chain verifies, the keys stay taken, and no answer is made up for them."""
    fill(path)
    committed = ("natural_key", "idempotency_key", "vector", "answer")
    dropped = ", ".join(f"{name} = NULL, {name}_salt = NULL" for name in committed)
    tamper(path, f"UPDATE entries SET {dropped} WHERE seq = 3")
    tamper(path, "UPDATE personal SET value = NULL, salt = NULL WHERE seq = 3")

    async def story(ledger: SqliteLedger) -> None:
        assert [] == await ledger.verify()
        recorded = await ledger.get("decision-3")
        assert recorded
        assert ("", None, b"", b"", {}) == tuple(
            getattr(recorded.entry, name) for name in (*committed[:2], "vector", "answer", "personal")
        )
        assert ({}, 6) == (recorded.salts, len(recorded.commitments))
        with pytest.raises(KeyReused):
            await ledger.append(entry(3))

    using(path, story)


# Writers


def test_a_reopened_ledger_keeps_entries_and_keys(path: Path) -> None:
    """What one life wrote the next one reads, replays and adds to, in a chain of its own."""
    fill(path)

    async def story(ledger: SqliteLedger) -> None:
        assert Appended("decision-2", ENTRY.answer, replayed=True) == await ledger.append(entry(2))
        assert Appended("decision-6", ENTRY.answer, replayed=False) == await ledger.append(entry(6))
        earlier, later = await ledger.find("txn-5"), await ledger.find("txn-6")
        assert earlier and later
        assert (5, 1, GENESIS.hex()) == (earlier.seq, later.seq, later.previous_hash)
        assert earlier.writer != later.writer == ledger.writer
        assert (6, []) == (await ledger.count(), await ledger.verify())

    using(path, story)


def test_two_writers_share_one_file(path: Path) -> None:
    """Interleaved writers each keep a whole chain, and a key is decided by one of them only."""

    async def story(one: SqliteLedger) -> None:
        two = await SqliteLedger.open(path, "fraud", lock_timeout_s=10.0)
        appends = [
            ledger.append(replace(entry(n), decision_id=f"{n}-{ledger.writer}"))
            for n in range(50)
            for ledger in (one, two)
        ]
        appended = [await one for batch in range(0, 100, 8) for one in await started(*appends[batch : batch + 8])]
        await two.close()
        assert (50, 50) == (len({done.decision_id for done in appended}), sum(done.replayed for done in appended))
        assert (50, []) == (await one.count(), await one.verify())

    using(path, story)


def test_a_service_sees_its_own_entries_only(path: Path) -> None:
    """In a shared file keys, look-ups, counts and chains are per service."""
    fill(path)

    async def story() -> None:
        kyc = await SqliteLedger.open(path, "kyc")
        await kyc.append(replace(entry(1), service="kyc", decision_id="kyc-1", request_digest="other"))
        assert (1, None, None) == (await kyc.count(), await kyc.get("decision-1"), await kyc.find("txn-2"))
        tamper(path, "UPDATE entries SET arm = 'canary' WHERE decision_id = 'decision-1'")
        assert [] == await kyc.verify()
        tamper(path, "UPDATE entries SET arm = 'canary' WHERE decision_id = 'kyc-1'")
        assert ["kyc-1"] == [one.decision_id for one in await kyc.verify()]
        await kyc.close()

    asyncio.run(story())


def test_what_waits_together_is_committed_together(path: Path) -> None:
    """Appends that come while a transaction runs share the next one, duplicates among them too."""

    async def story(ledger: SqliteLedger) -> None:
        statements: list[str] = []
        ledger._thread._db.set_trace_callback(statements.append)
        with closing(held(path)) as other:
            tasks = await started(*(ledger.append(entry(n // 2)) for n in range(8)))
            other.rollback()
            await asyncio.gather(*tasks)
        # The first may have been taken alone before the others came.
        assert statements.count("COMMIT") <= 2

    using(path, story)


def test_posted_events_share_the_commit_of_entries(path: Path) -> None:
    """What is scored and what is posted meanwhile is one group, numbered in the order in which it came."""

    async def story(ledger: SqliteLedger) -> None:
        statements: list[str] = []
        ledger._thread._db.set_trace_callback(statements.append)
        with closing(held(path)) as other:
            tasks = [
                asyncio.ensure_future(one)
                for n in range(1, 5, 2)
                for one in (ledger.append(entry(n), event(n)), ledger.record([event(n + 1)]))
            ]
            await asyncio.sleep(0)
            other.rollback()
            await asyncio.gather(*tasks)
        assert statements.count("COMMIT") <= 2
        kept = await all_of(ledger, ledger.writer, "transactions")
        assert [event(n) for n in range(1, 5)] == [Event.decode(one.payload) for one in kept]

    using(path, story)


def test_a_note_of_what_was_sent_has_no_commit_of_its_own(path: Path) -> None:
    """It is written with the next transaction, so that a relay costs the ledger no sync."""

    async def story(ledger: SqliteLedger) -> None:
        await ledger.append(entry(1), event(1))
        statements: list[str] = []
        ledger._thread._db.set_trace_callback(statements.append)
        await ledger.sent(ledger.writer, "transactions", 1)
        await ledger.append(entry(2))
        assert 1 == statements.count("COMMIT")
        with closing(sqlite3.connect(path)) as db:
            assert [(1, 1)] == db.execute("SELECT number, sent FROM streams").fetchall()

    using(path, story)


def test_a_failed_commit_takes_no_number_and_no_note(path: Path) -> None:
    """What was rolled back is as if it had never been tried, and a note in it is written with the next transaction."""

    async def story(ledger: SqliteLedger) -> None:
        await ledger.append(entry(1), event(1))
        await ledger.sent(ledger.writer, "transactions", 1)
        broken = LyingDisk(ledger._thread._db, takes_hold=False)
        ledger._thread._db = broken  # type: ignore[assignment]  # it only adds the fault
        with pytest.raises(LedgerUnavailable):
            await ledger.append(entry(2), event(2))
        assert [True] == await ledger.record([event(3)])
        kept = await all_of(ledger, ledger.writer, "transactions")
        assert [event(1), event(3)] == [Event.decode(one.payload) for one in kept]
        with closing(sqlite3.connect(path)) as db:
            assert [(2, 1)] == db.execute("SELECT number, sent FROM streams").fetchall()

    using(path, story)


def test_events_posted_together_stay_together(path: Path) -> None:
    """A list above the sizes of a group and of the queue is one transaction all the same."""

    async def story(ledger: SqliteLedger) -> None:
        statements: list[str] = []
        ledger._thread._db.set_trace_callback(statements.append)
        assert [True] * 100 == await ledger.record([event(n) for n in range(100)])
        assert 1 == statements.count("COMMIT")
        assert 100 == len(await all_of(ledger, ledger.writer, "transactions"))

    using(path, story)


def test_services_of_one_file_have_their_own_events(path: Path) -> None:
    """Keys, look-ups and what is left to send are per service."""

    async def story(ledger: SqliteLedger) -> None:
        kyc = await SqliteLedger.open(path, "kyc")
        await ledger.record([event(1)])
        assert ({}, {}) == (await kyc.heads(), await kyc.recorded(["count:txn-1"]))
        assert [True] == await kyc.record([replace(event(1), service="kyc")])
        assert {(kyc.writer, "transactions"): 1} == await kyc.heads()
        assert {"count:txn-1": event(1)} == await ledger.recorded(["count:txn-1"])
        await kyc.close()

    using(path, story)


def test_every_commit_is_synced(path: Path) -> None:
    """The log is written ahead and synced at each commit, so that a power cut takes back no answer either."""

    async def story(ledger: SqliteLedger) -> list[str | int]:
        return [ledger._thread._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")]

    assert ["wal", 2] == using(path, story)


# Failures


def test_an_entry_that_the_store_refuses_harms_no_other(path: Path) -> None:
    """Of a group with one poisonous entry all the others are durable, and the chain has no hole."""
    fill(path, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TRIGGER poison BEFORE INSERT ON entries WHEN new.decision_id = 'decision-4' "
            "BEGIN SELECT raise(ABORT, 'poison'); END"
        )

    async def story(ledger: SqliteLedger) -> None:
        group = (ledger.append(entry(n)) for n in range(1, 7))
        ended = await asyncio.gather(*group, return_exceptions=True)
        assert [Appended] * 3 + [LedgerUnavailable] + [Appended] * 2 == [type(one) for one in ended]
        assert (5, []) == (await ledger.count(), await ledger.verify())
        last = await ledger.get("decision-6")
        assert last and 4 == last.seq

    using(path, story)


def test_an_event_that_the_store_refuses_takes_only_its_list(path: Path) -> None:
    """Posted events are all recorded or none; others of the group are, and no number is lost."""
    fill(path, 1)
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TRIGGER poison BEFORE INSERT ON outbox WHEN new.key = 'count:txn-4' "
            "BEGIN SELECT raise(ABORT, 'poison'); END"
        )

    async def story(ledger: SqliteLedger) -> None:
        heard: list[Outgoing] = []
        ledger.on_outgoing = heard.extend
        group = [
            ledger.append(entry(2), event(2)),
            ledger.record([event(3), event(4), event(5)]),
            ledger.append(entry(4), event(4)),
            ledger.record([event(5), event(6)]),
        ]
        ended = await asyncio.gather(*group, return_exceptions=True)
        assert [Appended, LedgerUnavailable, LedgerUnavailable, list] == [type(one) for one in ended]
        assert ([True, True], 2) == (ended[-1], await ledger.count())
        assert heard == await all_of(ledger, ledger.writer, "transactions")
        assert [event(n) for n in (2, 5, 6)] == [Event.decode(one.payload) for one in heard]

    using(path, story)


def test_a_full_group_waits_for_nobody(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not fit into the transaction is not waited for."""
    monkeypatch.setattr(sqlite, "GATHER_S", 60.0)

    async def story() -> None:
        ledger = await SqliteLedger.open(path, "fraud", max_batch=2)
        ledger.coming = lambda: 1_000
        async with asyncio.timeout(10):
            await ledger.append_all([(entry(n), event(n)) for n in range(1, 5)])
        await ledger.close()

    asyncio.run(story())


def test_the_log_is_copied_into_the_database_every_few_rows(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it stays short for as long as the ledger is open."""
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT_ROWS", 4)

    def has(decision_id: bytes) -> bool:
        return decision_id in path.read_bytes()

    async def story(ledger: SqliteLedger) -> None:
        await ledger.append(entry(1), event(1))
        assert not has(b"decision-1")
        await ledger.append(entry(2), event(2))
        async with asyncio.timeout(10):
            while not has(b"decision-2"):  # noqa: ASYNC110  what is waited for happens in a file
                await asyncio.sleep(0.01)
        await ledger.append(entry(3), event(3))
        assert not has(b"decision-3")

    using(path, story)


def test_a_full_disk_acknowledges_nothing_and_heals(path: Path) -> None:
    """While pages run out appends are refused; with room again the chain goes on where the file stands."""

    async def story(ledger: SqliteLedger) -> None:
        await ledger.append(entry(0))
        (pages,) = ledger._thread._db.execute("PRAGMA page_count").fetchone()
        ledger._thread._db.execute(f"PRAGMA max_page_count = {pages + 2}")
        acknowledged = {"decision-0"}
        with pytest.raises(LedgerUnavailable):
            for n in range(1, 100):
                acknowledged.add((await ledger.append(replace(entry(n), answer=bytes(1000)))).decision_id)
        assert (len(acknowledged), []) == (await ledger.count(), await ledger.verify())
        ledger._thread._db.execute(f"PRAGMA max_page_count = {pages + 100}")
        await ledger.append(entry(100))
        assert (len(acknowledged) + 1, []) == (await ledger.count(), await ledger.verify())

    using(path, story)


class LyingDisk:
    """A connection whose first commit takes hold, but says that it failed; or which fails indeed."""

    def __init__(self, db: sqlite3.Connection, *, takes_hold: bool = True) -> None:
        self.db = db
        self.lies = 1
        self.takes_hold = takes_hold

    def __getattr__(self, name: str) -> Any:
        return getattr(self.db, name)

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        is_lie = sql == "COMMIT" and self.lies > 0
        cursor = self.db.execute(sql, *parameters) if self.takes_hold or not is_lie else self.db.cursor()
        if is_lie:
            self.lies -= 1
            raise sqlite3.OperationalError("disk I/O error")
        return cursor


def test_a_commit_that_took_hold_though_it_failed_forks_no_chain(path: Path) -> None:
    """After a failure the head is what the file says, and a retry gets the answer that is in it."""

    async def story(ledger: SqliteLedger) -> None:
        await ledger.append(entry(1))
        ledger._thread._db = LyingDisk(ledger._thread._db)  # type: ignore[assignment]  # it only adds the lie
        with pytest.raises(LedgerUnavailable):
            await ledger.append(entry(2))
        assert Appended("decision-3", ENTRY.answer, replayed=False) == await ledger.append(entry(3))
        assert Appended("decision-2", ENTRY.answer, replayed=True) == await ledger.append(entry(2))
        assert (3, []) == (await ledger.count(), await ledger.verify())

    using(path, story)


def test_an_event_whose_commit_took_hold_though_it_failed_is_sent(path: Path) -> None:
    """The relay is not told of it, finds it by what is left to send, and numbers go on behind it."""

    async def story(ledger: SqliteLedger) -> None:
        heard: list[Outgoing] = []
        ledger.on_outgoing = heard.extend
        await ledger.append(entry(1), event(1))
        ledger._thread._db = LyingDisk(ledger._thread._db)  # type: ignore[assignment]  # it only adds the lie
        with pytest.raises(LedgerUnavailable):
            await ledger.append(entry(2), event(2))
        assert {(ledger.writer, "transactions"): 2} == await ledger.heads()
        assert [False, True] == await ledger.record([event(2), event(3)])
        assert (await ledger.append(entry(2), event(2))).replayed
        assert [1, 3] == [one.number for one in heard]
        kept = await all_of(ledger, ledger.writer, "transactions")
        assert [event(n) for n in (1, 2, 3)] == [Event.decode(one.payload) for one in kept]

    using(path, story)


def test_a_relay_that_fails_delays_no_answer(path: Path) -> None:
    """Whatever the callback raises, what is durable is acknowledged; the loop reports the fault."""

    def fail(_: Sequence[Outgoing]) -> None:
        raise ConnectionError

    async def story(ledger: SqliteLedger) -> None:
        faults: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
        ledger.on_outgoing = fail
        assert [True] == await ledger.record([event(1)])
        assert [ConnectionError] == [type(fault["exception"]) for fault in faults]

    using(path, story)


def turn_held(path: Path) -> IO[bytes]:
    """Hold the turn to write, as another process does that waits for the lock."""
    turn = path.with_name(f"{path.name}-turn").open("ab")
    fcntl.flock(turn, fcntl.LOCK_EX)
    return turn


@pytest.mark.parametrize("hold", [held, turn_held])
def test_a_lock_held_too_long_is_said(path: Path, hold: Callable[[Path], Any]) -> None:
    """Waiting for another's transaction, or for the turn, is bounded; afterwards the ledger writes again."""

    async def story(ledger: SqliteLedger) -> None:
        with closing(hold(path)), pytest.raises(LedgerUnavailable):
            await ledger.append(entry(1), event(1))
        await ledger.append(entry(1), event(1))
        assert (1, []) == (await ledger.count(), await ledger.verify())
        assert 1 == len(await all_of(ledger, ledger.writer, "transactions"))

    using(path, story, lock_timeout_s=0.05)


def test_the_wait_for_a_lock_is_what_the_opener_says(path: Path) -> None:
    """Held for longer than the wait by default: who was told to wait longer is recorded."""

    async def story() -> None:
        ledger = await open_ledger(f"sqlite:///{path}", "fraud", timeout_s=60.0)
        try:
            turn = turn_held(path)
            asyncio.get_running_loop().call_later(2 * TIMEOUT_S, turn.close)
            await ledger.append(entry(1), event(1))
        finally:
            await ledger.close()

    asyncio.run(story())


def test_a_full_queue_refuses_and_loses_nothing(path: Path) -> None:
    """Above the limit an append is refused at once, and exactly what was acknowledged is in the ledger."""

    async def story(ledger: SqliteLedger) -> None:
        with closing(held(path)) as other:
            tasks = await started(*(ledger.append(entry(n)) for n in range(30)))
            other.rollback()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        acknowledged = [one for one in ended if isinstance(one, Appended)]
        assert 30 - len(acknowledged) == sum(isinstance(one, LedgerUnavailable) for one in ended)
        assert 8 <= len(acknowledged) < 30
        assert (len(acknowledged), []) == (await ledger.count(), await ledger.verify())

    using(path, story)


def test_a_cancelled_append_breaks_nothing(path: Path) -> None:
    """Whoever stops waiting harms neither the writer nor the others of the group."""

    async def story(ledger: SqliteLedger) -> None:
        with closing(held(path)) as other:
            one, two, three = await started(*(ledger.append(entry(n)) for n in range(3)))
            two.cancel()
            other.rollback()
            await asyncio.gather(one, three)
        await ledger.append(entry(3))
        assert two.cancelled()
        assert [] == await ledger.verify()

    using(path, story)


def test_close_writes_what_is_queued(path: Path) -> None:
    """What was accepted before close is acknowledged and durable after it."""

    async def story(ledger: SqliteLedger) -> None:
        with closing(held(path)) as other:
            tasks = await started(*(ledger.append(entry(n)) for n in range(6)))
            closing_ledger = asyncio.create_task(ledger.close())
            await asyncio.sleep(0)
            other.rollback()
            await closing_ledger
        assert [Appended] * 6 == [type(await one) for one in tasks]

    using(path, story)

    assert (6, []) == (using(path, lambda ledger: ledger.count()), verified(path))


def test_an_earlier_schema_is_migrated(path: Path) -> None:
    """A file from before there were events keeps its entries, keys and chains, and takes events from then on."""
    with closing(sqlite3.connect(path)) as db:
        for statement in MIGRATIONS[0]:
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")
        # What writes today knows a column that a file of then lacks.
        db.execute("ALTER TABLE entries ADD COLUMN shadow TEXT")
        first = Chain("fraud", "before")
        assert 2 == len(first.add(db, [seal(entry(1)), seal(entry(2))]))
        db.execute("ALTER TABLE entries DROP COLUMN shadow")
        db.commit()

    async def story(ledger: SqliteLedger) -> None:
        assert (await ledger.append(entry(1), event(1))).replayed
        assert not (await ledger.append(entry(3), event(3))).replayed
        assert (3, []) == (await ledger.count(), await ledger.verify())
        assert {"count:txn-3": event(3)} == await ledger.recorded([f"count:txn-{n}" for n in range(4)])

    using(path, story)


def test_no_chain_covers_the_outbox(path: Path) -> None:
    """Events may be dropped once they have served: every chain verifies without them."""

    async def story(ledger: SqliteLedger) -> None:
        await ledger.append(entry(1), event(1))
        await ledger.record([event(2)])

    using(path, story)
    tamper(path, "DELETE FROM outbox")
    tamper(path, "DELETE FROM streams")

    assert [] == verified(path)


def test_a_later_schema_is_not_written_to(path: Path) -> None:
    """A file that a later version migrated is refused when it is opened, untouched."""
    fill(path, 1)
    with closing(sqlite3.connect(path)) as db:
        assert len(MIGRATIONS) == db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")

    with pytest.raises(LedgerUnavailable, match=f"schema {len(MIGRATIONS) + 1}"):
        fill(path, 1)


def test_a_place_that_cannot_be_written_is_said_when_opening(tmp_path: Path) -> None:
    """A ledger that cannot be opened is a dependency that is down, whatever the system calls it."""
    (tmp_path / "file").touch()

    with pytest.raises(LedgerUnavailable):
        fill(tmp_path / "file" / "fraud.db")


async def all_of(ledger: SqliteLedger, writer: str, stream: str) -> list[Outgoing]:
    """Every event of one writer and stream, once its numbers are found to have no gap."""
    kept = await ledger.outgoing(writer, stream, 0, 1_000_000)
    assert list(range(1, len(kept) + 1)) == [one.number for one in kept]
    assert (await ledger.heads()).get((writer, stream), len(kept)) == len(kept)
    return kept


APPENDING = """
import asyncio, sys
from pathlib import Path
from scoregate.events import Effect, Event
from scoregate.ledger import Entry
from scoregate.ledger.sqlite import SqliteLedger

async def main(path, life):
    ledger = await SqliteLedger.open(Path(path), "fraud", lock_timeout_s=10.0)
    async def append(lane):
        for n in range(100_000):
            name = f"{life}-{lane}-{n}"
            decided = ("approve", 0.5, "model", "full", bytes(320), "{}", {"account_id": name}, bytes(700))
            entry = Entry(name, "fraud", name, None, name, *decided, "m", "p", "f", "stable", "t", 1.0, 2.0)
            event = Event("fraud", "transactions", Effect.COUNT, name, name, 1, 1)
            done = await ledger.append(entry, event)
            print(done.decision_id, flush=True)
    await asyncio.gather(*(append(lane) for lane in range(8)))

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def appending(path: Path, life: str) -> subprocess.Popen[str]:
    """Start a process that appends to the ledger, and prints each decision id once it was acknowledged."""
    services = Path(scoregate.__file__).parents[1]
    command = [sys.executable, "-c", APPENDING, str(path), life]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=services)


def test_a_kill_loses_nothing_that_was_acknowledged(path: Path) -> None:
    """After each kill -9 amid appends every acknowledged decision is in the ledger with its event, all chains verify,
    and no writer's numbers have a gap."""
    acknowledged: set[str] = set()
    for round_, lines in enumerate((1, 25)):
        children = [appending(path, f"{round_}-{number}") for number in range(3)]
        for child in children:
            assert child.stdout
            acknowledged |= {child.stdout.readline().strip() for _ in range(lines)}
            child.kill()
            # The last line may be cut; a whole one was acknowledged.
            acknowledged |= {line.strip() for line in child.stdout if line.endswith("\n")}
            child.stdout.close()
            child.wait()

    async def story(ledger: SqliteLedger) -> None:
        missing = [name for name in acknowledged if await ledger.get(name) is None]
        assert [] == missing
        assert [] == await ledger.verify()
        assert len(acknowledged) <= await ledger.count()
        kept = [one for (writer, stream) in await ledger.heads() for one in await all_of(ledger, writer, stream)]
        assert acknowledged <= {Event.decode(one.payload).key for one in kept}
        assert await ledger.count() == len(kept)

    using(path, story)
