"""What only a ledger on a server must stand: replicas that race, a server that is killed, answers that get lost."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TypeVar

import asyncpg
import pytest

from postgres import Server, postgres, started  # noqa: F401  fixtures
from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.events import Effect, Event, Outgoing
from scoregate.ledger import Appended, Entry
from scoregate.ledger.postgres import PostgresLedger
from scoregate.ledger.postgres_schema import month_of
from scoregate.ledger.postgres_writer import AHEAD_S

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
def url(postgres: Server) -> str:  # noqa: F811
    return postgres.new_url()


@asynccontextmanager
async def opened(url: str, service: str = "fraud", *, timeout_s: float = 10.0) -> AsyncIterator[PostgresLedger]:
    ledger = await PostgresLedger.open(url, service, timeout_s=timeout_s)
    try:
        yield ledger
    finally:
        await ledger.close()


def using(url: str, story: Callable[[PostgresLedger], Awaitable[T]]) -> T:
    async def told() -> T:
        async with opened(url) as ledger:
            return await story(ledger)

    return asyncio.run(told())


def fill(url: str, count: int = 5) -> None:
    """Write decisions 1 to `count`, whose seq is their number."""

    async def story(ledger: PostgresLedger) -> None:
        for number in range(1, count + 1):
            await ledger.append(entry(number), event(number))

    using(url, story)


async def has_no_gap(ledger: PostgresLedger) -> list[Outgoing]:
    """Return every event that is left to send, once each writer's numbers are found to have no gap."""
    kept = []
    for (writer, stream), head in (await ledger.heads()).items():
        page = await ledger.outgoing(writer, stream, 0, 1_000_000)
        assert list(range(1, head + 1)) == [one.number for one in page]
        kept += page
    return kept


# Replicas


def test_replicas_that_race_decide_each_key_once(url: str) -> None:
    """Of fifty duplicates of each key, sent to two replicas in any order, one decides, and all get its answer."""
    sent = [(number, rival) for number in range(40) for rival in range(50)]
    random.Random(6).shuffle(sent)

    async def story() -> None:
        async with opened(url) as one, opened(url) as two:
            asked = [
                (one, two)[rival % 2].append(
                    replace(entry(number), decision_id=f"{number}-{rival}", answer=f"{number}-{rival}".encode()),
                    event(number),
                )
                for number, rival in sent
            ]
            answers: dict[int, set[bytes]] = {}
            decided = Counter[int]()
            for (number, _), appended in zip(sent, await asyncio.gather(*asked), strict=True):
                answers.setdefault(number, set()).add(appended.answer)
                decided[number] += not appended.replayed
            assert {1} == {len(given) for given in answers.values()} == set(decided.values())
            assert (40, []) == (await one.count(), await two.verify())
            assert 40 == len(await has_no_gap(two))

    asyncio.run(story())


def test_groups_that_share_keys_never_wait_for_each_other(url: str, postgres: Server) -> None:  # noqa: F811
    """Replicas that write the same new keys in opposite orders at the same time are in no deadlock."""

    async def story() -> None:
        async with opened(url) as one, opened(url) as two:
            other = await asyncpg.connect(url)
            deadlocks = await other.fetchval("SELECT sum(deadlocks) FROM pg_stat_database")
            # Both groups get as far as a key that somebody is about to take, each with what it has taken by then.
            await other.execute("BEGIN; INSERT INTO keys VALUES ('fraud', 'natural', 'txn-50', 'somebody', 1, 0)")
            lanes = [one.append(entry(n)) for n in range(100)]
            lanes += [two.append(entry(n)) for n in reversed(range(100))]
            answers = asyncio.gather(*lanes)
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            while await other.fetchval(waiting) < 2:  # noqa: ASYNC110  the server tells nobody
                await asyncio.sleep(0.01)
            await other.execute("ROLLBACK")
            assert 100 == sum(appended.replayed for appended in await answers)
            assert (100, []) == (await one.count(), await one.verify())
            assert deadlocks == await other.fetchval("SELECT sum(deadlocks) FROM pg_stat_database")
            await other.close()

    asyncio.run(story())


def test_services_share_a_database(url: str) -> None:
    """Keys and entries are a service's own."""

    async def story() -> None:
        async with opened(url) as fraud, opened(url, "kyc") as kyc:
            await fraud.append(entry(1), event(1))
            other = replace(entry(1), service="kyc", decision_id="other", request_digest="other")
            assert not (await kyc.append(other, replace(event(1), service="kyc"))).replayed
            assert (1, 1) == (await fraud.count(), await kyc.count())
            assert await kyc.get("decision-1") is None

    asyncio.run(story())


def test_replicas_that_start_at_once_make_the_tables_once(url: str) -> None:
    """A new database, and a new month, may be met by several processes together."""

    async def life(number: int) -> None:
        async with opened(url) as ledger:
            await ledger.append(entry(number), event(number))

    async def story() -> list[object]:
        await asyncio.gather(*(life(number) for number in range(6)))
        async with opened(url) as ledger:
            return [await ledger.count(), await ledger.verify()]

    assert [6, []] == asyncio.run(story())


def test_a_start_waits_for_who_makes_the_tables(url: str) -> None:
    """However long another process needs for its tables, longer than any statement may take: who starts waits."""
    year, month = month_of(time.time() + AHEAD_S)

    async def story() -> int:
        async with opened(url):
            pass
        other = await asyncpg.connect(url)
        await other.execute(f"DROP TABLE entries_{year:04}_{month:02}, personal_{year:04}_{month:02}")
        await other.execute("BEGIN; LOCK TABLE entries IN SHARE UPDATE EXCLUSIVE MODE")
        starting = asyncio.create_task(PostgresLedger.open(url, "fraud", timeout_s=2.0))
        await asyncio.sleep(2.5)
        await other.execute("COMMIT")
        await other.close()
        ledger = await starting
        try:
            return await ledger.count()
        finally:
            await ledger.close()

    assert 0 == asyncio.run(story())


# A server that goes away


async def reaches(acknowledged: dict[str, bytes], count: int) -> None:
    while len(acknowledged) < count:  # noqa: ASYNC110  whoever adds to it tells nobody
        await asyncio.sleep(0.01)


def test_a_process_that_was_busy_does_not_take_the_server_for_down(url: str) -> None:
    """What this process itself did meanwhile does not count as the server's time."""

    async def story() -> tuple[bool, bool]:
        async with opened(url, timeout_s=2.0) as ledger:
            await ledger.append(entry(0))
            appending = asyncio.create_task(ledger.append(entry(1)))
            for _ in range(4):
                await asyncio.sleep(0)
            time.sleep(2.5)  # noqa: ASYNC251  a busy loop is what this is about
            return (await appending).replayed, ledger.is_down

    assert (False, False) == asyncio.run(story())


def test_a_killed_server_loses_nothing_that_was_acknowledged() -> None:
    """After each kill -9 of the server amid appends of two replicas every acknowledged decision is there with its
    event, each key was decided once, all chains verify, and no numbers have a gap."""
    rounds = 3

    async def lane(ledger: PostgresLedger, name: str, acknowledged: dict[str, bytes], stop: asyncio.Event) -> None:
        n = 0
        while not stop.is_set():
            # Each key is sent to both replicas, and again until it is answered.
            one = replace(entry(0), natural_key=f"{name}-{n}", idempotency_key=None, request_digest=f"{name}-{n}")
            one = replace(one, decision_id=f"{name}-{n}-{ledger.writer}", answer=f"{name}-{n}-{ledger.writer}".encode())
            try:
                appended = await ledger.append(one, replace(event(0), key=f"{name}-{n}"))
            except LedgerUnavailable:
                await asyncio.sleep(0.02)
                continue
            assert appended.answer == acknowledged.setdefault(one.natural_key, appended.answer)
            n += 1

    async def story(server: Server) -> None:
        url = await asyncio.to_thread(server.new_url)
        acknowledged: dict[str, bytes] = {}
        for round_ in range(rounds):
            async with opened(url, timeout_s=2.0) as one, opened(url, timeout_s=2.0) as two:
                stop = asyncio.Event()
                names = [f"{round_}-{n}" for n in range(12)]
                both = [lane(ledger, name, acknowledged, stop) for name in names for ledger in (one, two)]
                lanes = [asyncio.create_task(each) for each in both]
                await reaches(acknowledged, len(acknowledged) + 100 * (round_ + 1))
                server.kill()
                await asyncio.to_thread(server.start)
                await reaches(acknowledged, len(acknowledged) + 50)
                stop.set()
                await asyncio.gather(*lanes)
        async with opened(url) as ledger:
            kept = {key: await ledger.find(key) for key in acknowledged}
            assert acknowledged == {key: found.entry.answer for key, found in kept.items() if found}
            assert [] == await ledger.verify()
            assert len(acknowledged) <= await ledger.count()
            assert await ledger.count() == len(await has_no_gap(ledger))

    server = next(servers := started())
    try:
        asyncio.run(story(server))
    finally:
        with suppress(StopIteration):
            next(servers)


def test_a_server_that_is_down_is_said_and_comes_back() -> None:
    """While the server is away nothing is acknowledged and the ledger says so; then the same ledger goes on."""

    async def story(server: Server) -> None:
        async with opened(server.url) as ledger:
            await ledger.append(entry(1))
            server.stop()
            for ask in (ledger.append(entry(2)), ledger.record([event(2)]), ledger.get("decision-1"), ledger.verify()):
                with pytest.raises(LedgerUnavailable):
                    await ask
            assert ledger.is_down
            with pytest.raises(LedgerUnavailable):
                await PostgresLedger.open(server.url, "fraud")
            await asyncio.to_thread(server.start)
            assert not (await ledger.append(entry(2))).replayed
            assert not ledger.is_down
            assert (2, []) == (await ledger.count(), await ledger.verify())

    server = next(servers := started())
    try:
        asyncio.run(story(server))
    finally:
        with suppress(StopIteration):
            next(servers)


@asynccontextmanager
async def losing_answers(port: int, decision_id: str) -> AsyncIterator[tuple[int, list[bool]]]:
    """Forward to the server, but once: when it has been told to write `decision_id`, the connection is dropped.

    Yields the port to connect to, and a list that is not empty once that has happened.
    """
    dropped: list[bool] = []

    async def forward(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        server, to_server = await asyncio.open_connection("127.0.0.1", port)

        async def answer() -> None:
            while raw := await server.read(1 << 16):
                to_client.write(raw)

        answering = asyncio.create_task(answer())
        is_prepared = False
        while raw := await client.read(1 << 16):
            # A statement comes first, and its values once the server has said that it can be.
            is_written = is_prepared and decision_id.encode() in raw
            is_prepared = is_prepared or b"WITH new_keys" in raw
            if is_written and not dropped:
                answering.cancel()
                to_client.close()
                dropped.append(True)
            to_server.write(raw)
        answering.cancel()
        to_server.close()

    async with await asyncio.start_server(forward, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1], dropped


def test_a_commit_whose_answer_was_lost_is_looked_up(url: str, postgres: Server) -> None:  # noqa: F811
    """When the connection breaks between commit and answer, the ledger finds out that it took hold, and says so."""

    async def story() -> None:
        async with losing_answers(postgres.port, "decision-lost") as (port, dropped):
            ledger = await PostgresLedger.open(url.replace(f":{postgres.port}/", f":{port}/"), "fraud", timeout_s=10.0)
            heard: list[Outgoing] = []
            ledger.on_outgoing = heard.extend
            lost = replace(entry(1), decision_id="decision-lost")
            assert Appended("decision-lost", lost.answer, replayed=False) == await ledger.append(lost, event(1))
            assert [True] == dropped
            await ledger.append(entry(2), event(2))
            assert [1, 2] == [one.number for one in heard]
            assert (2, []) == (await ledger.count(), await ledger.verify())
            await ledger.close()

    asyncio.run(story())


def test_a_writer_waits_until_its_last_connection_is_gone(url: str) -> None:
    """As long as the server has the writer's last session, what it may still commit is not guessed at."""

    async def story() -> None:
        async with opened(url, timeout_s=2.0) as ledger:
            await ledger.append(entry(1))
            old, ledger._writer._connection = ledger._writer._connection, None
            with pytest.raises(LedgerUnavailable):
                await ledger.append(entry(2))
            assert old
            await old.close()
            assert not (await ledger.append(entry(2))).replayed
            assert (2, []) == (await ledger.count(), await ledger.verify())

    asyncio.run(story())


# What is kept


@pytest.mark.parametrize(
    ("sql", "seq", "why"),
    [
        ("UPDATE entries SET score = score + 2e-16 WHERE seq = 3", 3, "hash does not cover"),
        ("UPDATE entries SET answer = set_byte(answer, 0, get_byte(answer, 0) # 1) WHERE seq = 3", 3, "differs from"),
        ("UPDATE entries SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1) WHERE seq = 3", 3, "hash does not cover"),
        ("UPDATE entries SET event_at = event_at + 1e-6 WHERE seq = 3", 3, "hash does not cover"),
        ("UPDATE entries SET decided_at = decided_at + 0.25 WHERE seq = 3", 3, "hash does not cover"),
        ("UPDATE personal SET value = 'k1:dead' WHERE seq = 3 AND name = 'device_id'", 3, "differs from"),
        ("DELETE FROM personal WHERE seq = 3 AND name = 'device_id'", 3, "hash does not cover"),
        ("DELETE FROM entries WHERE seq = 3", 3, "it is missing"),
        ("DELETE FROM entries WHERE seq = 5", 5, "it is missing"),
        ("UPDATE entries SET seq = 6 WHERE seq = 3", 3, "it is missing"),
        ("UPDATE keys SET seq = 4 WHERE kind = 'natural' AND seq = 3", 3, "do not lead to it"),
        ("DELETE FROM keys WHERE kind = 'decision' AND seq = 3", 3, "do not lead to it"),
        ("DELETE FROM writers", 1, "after the head"),
        ("UPDATE writers SET seq = 4", 5, "after the head"),
    ],
)
def test_tampering_is_found_and_named(url: str, postgres: Server, sql: str, seq: int, why: str) -> None:  # noqa: F811
    """A changed bit, a row that is gone or moved, and a head that is not the last entry are each named."""
    fill(url)
    assert not postgres.run(sql, url).endswith(" 0")

    [broken] = using(url, lambda ledger: ledger.verify())

    assert seq == broken.seq
    assert why in broken.why


def test_forgetting_keeps_the_chain(url: str, postgres: Server) -> None:  # noqa: F811
    """Values and salts go, the chain verifies, and a retry is refused since its answer is gone."""
    fill(url, 3)
    for committed in ("natural_key", "idempotency_key", "vector", "answer"):
        postgres.run(f"UPDATE entries SET {committed} = NULL, {committed}_salt = NULL WHERE seq = 2", url)
    postgres.run("UPDATE personal SET value = NULL, salt = NULL WHERE seq = 2", url)

    async def story(ledger: PostgresLedger) -> None:
        assert [] == await ledger.verify()
        recorded = await ledger.get("decision-2")
        assert recorded
        assert ({}, b"", {}) == (recorded.entry.personal, recorded.entry.answer, recorded.salts)
        with pytest.raises(KeyReused):
            await ledger.append(entry(2))

    using(url, story)


def test_months_have_partitions_of_their_own(url: str, postgres: Server) -> None:  # noqa: F811
    """Entries are found whatever month they are of; a key stays taken when its month is dropped."""
    in_december = replace(entry(2), decided_at=1_702_000_000.0)

    async def story(ledger: PostgresLedger) -> None:
        await asyncio.gather(ledger.append(entry(1)), ledger.append(in_december))
        assert [entry(1), in_december] == [
            found.entry for found in (await ledger.get("decision-1"), await ledger.find("txn-2")) if found
        ]
        assert (await ledger.append(in_december)).replayed
        assert [] == await ledger.verify()
        for table in ("entries", "personal"):
            await asyncio.to_thread(postgres.run, f"DROP TABLE {table}_2023_12", url)
        assert 1 == await ledger.count()
        with pytest.raises(KeyReused):
            await ledger.append(in_december)

    using(url, story)


def test_the_coming_month_is_made_ahead(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A week before a month begins its partitions are there, so that midnight waits for nothing."""
    monkeypatch.setattr("scoregate.ledger.postgres_writer.time.time", lambda: 1_701_300_000.0)
    fill(url, 1)

    async def tables() -> set[str]:
        connection = await asyncpg.connect(url)
        try:
            found = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
            return {name for (name,) in found}
        finally:
            await connection.close()

    assert {"entries_2023_11", "entries_2023_12", "personal_2023_12"} <= asyncio.run(tables())


def test_a_later_schema_is_not_written_to(url: str, postgres: Server) -> None:  # noqa: F811
    """Tables that a later version migrated are refused when they are opened."""
    fill(url, 1)
    postgres.run("INSERT INTO schema_version VALUES (99)", url)

    with pytest.raises(LedgerUnavailable, match="schema 99"):
        fill(url, 1)


def test_a_database_that_does_not_wait_for_its_disk_is_told_to(url: str, postgres: Server) -> None:  # noqa: F811
    """Where the default is not to sync commits, the ledger's are synced all the same."""
    name = url.partition("search_path=")[2]
    postgres.run(f"CREATE ROLE {name} LOGIN SUPERUSER")
    postgres.run(f"ALTER ROLE {name} SET synchronous_commit = off")

    async def story() -> str:
        async with opened(url.replace("postgres@", f"{name}@")) as ledger:
            connection = ledger._writer._connection
            assert connection
            return str(await connection.fetchval("SHOW synchronous_commit"))

    assert "on" == asyncio.run(story())


def test_a_text_that_postgres_does_not_keep_is_refused(url: str) -> None:
    """A zero character is an error of its caller, and of nobody else in the group."""

    async def story(ledger: PostgresLedger) -> None:
        ended = await asyncio.gather(
            ledger.append(entry(1)),
            ledger.append(replace(entry(2), natural_key="a\0b")),
            ledger.append(replace(entry(3), trace_id="a\0b")),
            return_exceptions=True,
        )
        assert [Appended, ValueError, LedgerUnavailable] == [type(one) for one in ended]
        assert (1, []) == (await ledger.count(), await ledger.verify())

    using(url, story)


def test_close_writes_what_is_queued(url: str) -> None:
    """What was accepted before close is acknowledged and durable after it."""

    async def story(ledger: PostgresLedger) -> None:
        tasks = [asyncio.create_task(ledger.append(entry(n))) for n in range(6)]
        await asyncio.sleep(0)
        await ledger.close()
        assert [Appended] * 6 == [type(await one) for one in tasks]

    using(url, story)

    assert 6 == using(url, lambda ledger: ledger.count())


def test_a_full_queue_refuses_and_loses_nothing(url: str) -> None:
    """Above the limit an append is refused at once, and exactly what was acknowledged is in the ledger."""

    async def story() -> None:
        ledger = await PostgresLedger.open(url, "fraud", max_batch=8, queue_limit=8)
        ended = await asyncio.gather(*(ledger.append(entry(n)) for n in range(30)), return_exceptions=True)
        acknowledged = [one for one in ended if isinstance(one, Appended)]
        assert 8 <= len(acknowledged) < 30
        assert 30 - len(acknowledged) == sum(isinstance(one, LedgerUnavailable) for one in ended)
        assert (len(acknowledged), []) == (await ledger.count(), await ledger.verify())
        await ledger.close()

    asyncio.run(story())
