"""Event days and facts on disk."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pyarrow.parquet as pq
import pytest

from scoregate.hashing import KeyedHash
from scoregate.settings import Settings
from scoregate.training.streams import Period, Workers, days_until, ensure, hooks

NOON = dt.datetime(2025, 3, 10, 12, tzinfo=dt.UTC)
PERIOD = Period(history_days=4, log_days=2)

SIMULATE = """
    import datetime as dt
    import pyarrow as pa

    STREAM = "visits"
    MADE = []

    def day(date, seed):
        MADE.append((str(date), seed))
        start = dt.datetime(date.year, date.month, date.day, tzinfo=dt.UTC)
        times = [start + dt.timedelta(hours=h) for h in range(0, 24, 6)]
        at = pa.array(times, pa.timestamp("us", tz="UTC"))
        return pa.table({"event_at": at, "who": [f"{seed}-{h}" for h in range(4)]})

    def facts(at, seed):
        return {"visitor": pa.table({"who": ["a"], "event_timestamp": pa.array([at], pa.timestamp("us", tz="UTC"))})}
"""
KEYS = """
    import pyarrow as pa

    def keyed(table, hashed):
        keys = [hashed("who", who) for who in table["who"].to_pylist()]
        return table.append_column("who_key", pa.array(keys, pa.string()))

    def keyed_facts(table, hashed):
        return keyed(table, hashed).drop_columns(["who"])
"""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A service folder with hooks, under a name that no other test uses."""
    name = f"shop_{tmp_path.name.replace('-', '_')}"
    for folder in (name, f"{name}_copy"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "__init__.py").write_text("")
        (tmp_path / folder / "simulate.py").write_text(dedent(SIMULATE))
        (tmp_path / folder / "keys.py").write_text(dedent(KEYS))
    monkeypatch.syspath_prepend(tmp_path)
    yield name
    for module in [m for m in sys.modules if m.startswith(name)]:
        del sys.modules[module]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path / "home", seed=7)
    KeyedHash.create(found.hash_key_path)
    return found


def bring(settings: Settings, services: list[str], until: dt.datetime) -> None:
    with Workers() as workers:
        ensure(settings, services, until, PERIOD, workers=workers, say=lambda _: None)


def made(shop: str) -> list[tuple[str, int]]:
    calls: list[tuple[str, int]] = sys.modules[f"{shop}.simulate"].MADE
    found, calls[:] = list(calls), []
    return found


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.parquet"))


def test_history_ends_now(settings: Settings, shop: str) -> None:
    """All days of the period are there, and the running one holds nothing from the future."""
    bring(settings, [shop], NOON)

    assert [str(day) for day in days_until(NOON, 4)] == names(settings.data / "visits")
    assert 4 == pq.read_metadata(settings.data / "visits" / "2025-03-09.parquet").num_rows
    assert [0, 6, 12] == [
        t.hour for t in pq.read_table(settings.data / "visits" / "2025-03-10.parquet")["event_at"].to_pylist()
    ]


def test_only_the_day_that_may_have_been_cut_is_made_again(settings: Settings, shop: str) -> None:
    """A warm call an hour later makes the running day and nothing else."""
    bring(settings, [shop], NOON)
    made(shop)

    bring(settings, [shop], NOON + dt.timedelta(hours=6))

    assert [("2025-03-10", 7)] == made(shop)
    assert 4 == pq.read_metadata(settings.data / "visits" / "2025-03-10.parquet").num_rows


def test_days_go_on_where_they_ended(settings: Settings, shop: str) -> None:
    """Two days later the cut day is completed, the new ones are made, and the oldest ones dropped."""
    bring(settings, [shop], NOON)
    made(shop)

    bring(settings, [shop], NOON + dt.timedelta(days=2))

    assert [("2025-03-10", 7), ("2025-03-11", 7), ("2025-03-12", 7)] == made(shop)
    assert ["2025-03-09", "2025-03-10", "2025-03-11", "2025-03-12"] == names(settings.data / "visits")
    assert ["2025-03-11", "2025-03-12"] == names(settings.data / "facts" / "visitor")


def test_a_day_that_was_lost_is_made_again(settings: Settings, shop: str) -> None:
    """A run that was killed leaves whole files or none; what lacks is made by the next one."""
    bring(settings, [shop], NOON)
    made(shop)
    (settings.data / "visits" / "2025-03-08.parquet").unlink()

    bring(settings, [shop], NOON)

    assert [("2025-03-08", 7), ("2025-03-10", 7)] == made(shop)


def test_another_seed_makes_another_history(settings: Settings, shop: str) -> None:
    """Days of two populations are never mixed."""
    bring(settings, [shop], NOON)
    made(shop)

    bring(settings.model_copy(update={"seed": 8}), [shop], NOON)

    assert [(str(day), 8) for day in days_until(NOON, 4)] == made(shop)


def test_another_secret_makes_other_keys(settings: Settings, shop: str) -> None:
    """Hashed columns are those that serving computes with its secret; an old secret's files are made again."""
    bring(settings, [shop], NOON)
    settings.hash_key_path.unlink()
    hashed = KeyedHash.create(settings.hash_key_path)

    bring(settings, [shop], NOON)

    table = pq.read_table(settings.data / "visits" / "2025-03-07.parquet")
    assert [hashed("who", who) for who in table["who"].to_pylist()] == table["who_key"].to_pylist()


def test_facts_are_keyed_by_hashes(settings: Settings, shop: str) -> None:
    """Facts reach the disk under the hash that serving asks by, in place of the id, and another secret makes others."""
    bring(settings, [shop], NOON)
    file = settings.data / "facts" / "visitor" / "2025-03-10.parquet"
    before = pq.read_table(file)
    settings.hash_key_path.unlink()
    hashed = KeyedHash.create(settings.hash_key_path)

    bring(settings, [shop], NOON)

    assert {"who_key", "event_timestamp"} == set(before.column_names)
    assert [hashed("who", "a")] == pq.read_table(file)["who_key"].to_pylist() != before["who_key"].to_pylist()


def test_what_was_streamed_is_never_deleted(settings: Settings, shop: str) -> None:
    """Days can be made again by another recipe; what callers sent cannot."""
    bring(settings, [shop], NOON)
    twins = [settings.data / stream / "live" / "1-0_2-0.parquet" for stream in ("visits", "facts")]
    for twin in twins:
        twin.parent.mkdir()
        twin.touch()

    bring(settings.model_copy(update={"seed": 8}), [shop], NOON + dt.timedelta(days=9))

    assert [True, True] == [twin.exists() for twin in twins]


def test_services_with_one_stream_share_its_days(settings: Settings, shop: str) -> None:
    """A copy of a service under another name reads the same events; they are made once."""
    bring(settings, [shop, f"{shop}_copy"], NOON)

    assert [(str(day), 7) for day in days_until(NOON, 4)] == made(shop)
    assert [] == made(f"{shop}_copy")


def test_facts_are_stated_at_the_beginning_of_each_day(settings: Settings, shop: str) -> None:
    """Each day with requests has what was known when it began."""
    bring(settings, [shop], NOON)

    table = pq.read_table(settings.data / "facts" / "visitor" / "2025-03-10.parquet")
    assert [dt.datetime(2025, 3, 10, tzinfo=dt.UTC)] == table["event_timestamp"].to_pylist()
    assert ["2025-03-09", "2025-03-10"] == names(settings.data / "facts" / "visitor")


def test_nobody_else_may_read_the_data(settings: Settings, shop: str) -> None:
    """Events hold personal values: files are their owner's alone, and no half-written one is left."""
    bring(settings, [shop], NOON)

    files = [path for path in settings.data.rglob("*") if path.is_file() and path.name != "recipe.txt"]
    assert {0o600} == {path.stat().st_mode & 0o777 for path in files if path.suffix == ".parquet"}
    assert [] == [path for path in files if path.name.startswith(".")]


def test_a_service_without_data_offers_nothing() -> None:
    """No hook is an empty offer, not an error."""
    assert {} == hooks("scoregate")
