"""Tile logs on disk, by a stream of events on disk."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from payments import write_twin
from scoregate.events import Effect, Event
from scoregate.features import encoding
from scoregate.features.windows import Windows
from scoregate.settings import Settings
from scoregate.training import streams, tilelog
from scoregate.training.streams import DAY_US, Period, day_us

UTC_US = pa.timestamp("us", tz="UTC")
FIRST = dt.date(2025, 3, 1)
NOW = dt.datetime(2025, 3, 10, 12, 30, tzinfo=dt.UTC)
PERIOD = Period(history_days=10, log_days=3)
START = day_us(FIRST)


def registry() -> bytes:
    message = encoding.Registry()
    spec = message.feature_views.add().spec
    spec.name = "card_tiles"
    spec.entity_columns.add(name="card_id", value_type=2)
    spec.features.add(name="days", value_type=14)
    for key, value in {
        "kind": "tiles",
        "stream": "payments",
        "key": "card",
        "party": "shop",
        "amount": "cents",
    }.items():
        spec.tags.add(key=key, value=value)
    return bytes(message.SerializeToString())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Card a pays daily at noon, card b once on the first day; a's first payment is known as fraud on the ninth."""
    found = Settings(home=tmp_path)
    streams.keep(found.data / "payments", "recipe")
    for i in range(10):
        rows = [("a", START + i * DAY_US + DAY_US // 2, 100 * (i + 1), "s1", START + 8 * DAY_US if i == 0 else None)]
        rows += [("b", START, 50, "s2", None)] if i == 0 else []
        columns = dict(zip(("card", "event_at", "cents", "shop", "label_at"), zip(*rows, strict=True), strict=True))
        table = pa.table(
            {
                "card": pa.array(columns["card"]),
                "event_at": pa.array(columns["event_at"], pa.int64()).cast(UTC_US),
                "cents": pa.array(columns["cents"]),
                "shop": pa.array(columns["shop"]),
                "label_at": pa.array(columns["label_at"], pa.int64()).cast(UTC_US),
            }
        )
        streams.write(found.data / "payments" / f"{FIRST + dt.timedelta(days=i)}.parquet", table)
    return found


def bring(settings: Settings, until: dt.datetime) -> None:
    with streams.Workers() as workers:
        tilelog.ensure(settings, registry(), until, PERIOD, workers=workers, say=lambda _: None)


def log(settings: Settings) -> list[dict[str, Any]]:
    folder = tilelog.log_folder(settings, "card_tiles")
    rows = pa.concat_tables([pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]).to_pylist()
    return sorted(rows, key=lambda row: (row["card_id"], row["event_timestamp"]))


def times(settings: Settings, card: str) -> list[float]:
    """Days since the start of each row of a card."""
    rows = [row for row in log(settings) if row["card_id"] == card]
    return [round((row["event_timestamp"].timestamp() * 1e6 - START) / DAY_US, 3) for row in rows]


def test_a_log_begins_with_what_was_there_before(settings: Settings) -> None:
    """Who has not paid since the log begins still has tiles; afterwards each payment and label has its row."""
    bring(settings, NOW)

    assert [6.5, 7.5, 8.0, 8.5, 9.5] == times(settings, "a")
    assert [0.0] == times(settings, "b")


def test_a_row_counts_all_up_to_its_time(settings: Settings) -> None:
    """The last row of a card is its whole history in tiles, with the fraud known by then."""
    bring(settings, NOW)

    last = log(settings)[4]
    found = Windows(last, NOW.timestamp() + 1)
    assert (10, 5_500) == (found.count("30d"), found.sum_minor("30d"))
    assert [1, 0, 0] == [day[4] for day in zip(*[iter(last["days"])] * 5, strict=True)][:3]


def test_nothing_after_now_is_in_the_log(settings: Settings) -> None:
    """A label or payment of later today has no row yet."""
    bring(settings, dt.datetime(2025, 3, 9, 6, tzinfo=dt.UTC))

    assert [5.5, 6.5, 7.5, 8.0] == times(settings, "a")


def test_a_later_call_makes_the_running_day_alone(settings: Settings) -> None:
    """Finished days stay as they are."""
    bring(settings, NOW)
    folder = tilelog.log_folder(settings, "card_tiles")
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}

    bring(settings, NOW + dt.timedelta(hours=1))

    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert ["2025-03-10.parquet"] == [name for name in before if before[name] != after[name]]


def test_the_log_moves_on_with_the_days(settings: Settings) -> None:
    """A day later the first day is gone, and what it left behind is where the log begins."""
    bring(settings, dt.datetime(2025, 3, 9, 23, tzinfo=dt.UTC))
    assert [5.5, 6.5, 7.5, 8.0, 8.5] == times(settings, "a")

    bring(settings, NOW)

    assert [6.5, 7.5, 8.0, 8.5, 9.5] == times(settings, "a")
    assert [0.0] == times(settings, "b")


def test_a_view_that_counts_otherwise_is_counted_anew(settings: Settings) -> None:
    """Files of another definition are not kept."""
    bring(settings, NOW)
    folder = tilelog.log_folder(settings, "card_tiles")
    note = (folder / "recipe.txt").read_text()
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    (folder / "recipe.txt").write_text(note.replace("cents", "pence"))

    bring(settings, NOW)

    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert note == (folder / "recipe.txt").read_text()
    assert before.keys() == after.keys()
    assert [] == [name for name in before if before[name] == after[name]]


def test_latest_is_each_entitys_newest_row_in_the_interval(settings: Settings) -> None:
    """What is loaded online is the newest row of the log, and of those that changed since the last time only."""
    bring(settings, NOW)
    folder = tilelog.log_folder(settings, "card_tiles")

    every = tilelog.latest(folder, "card_id", 0, day_us(FIRST) + 20 * DAY_US)
    recent = tilelog.latest(folder, "card_id", START + 9 * DAY_US, START + 20 * DAY_US)
    earlier = tilelog.latest(folder, "card_id", 0, START + 9 * DAY_US)

    assert {"a": 9.5, "b": 0.0} == ages(every)
    assert {"a": 9.5} == ages(recent)
    assert {"a": 8.5, "b": 0.0} == ages(earlier)


def ages(table: pa.Table) -> dict[str, float]:
    times_us = table["event_timestamp"].cast(pa.int64()).to_pylist()
    return {key: round((t - START) / DAY_US, 3) for key, t in zip(table["card_id"].to_pylist(), times_us, strict=True)}


def pay(subject: str, days: float, cents: int = 50) -> Event:
    at_us = START + int(days * DAY_US)
    row = {"card": "a", "shop": "s3", "cents": cents}
    return Event("shop", "payments", Effect.COUNT, f"count:{subject}", subject, at_us, at_us, row)


def undo(paid: Event, days: float) -> Event:
    known_us = START + int(days * DAY_US)
    return replace(paid, effect=Effect.REVERSE, key=f"reverse:{paid.subject}", known_us=known_us)


def test_what_was_streamed_is_in_the_log(settings: Settings) -> None:
    """A request in training sees days and stream as one history, and a reversal from when it was known."""
    paid = pay("t", 8.75)
    write_twin(settings, [paid, undo(paid, 9.25)])

    bring(settings, NOW)

    rows = [row for row in log(settings) if row["card_id"] == "a"]
    assert [6.5, 7.5, 8.0, 8.5, 8.75, 9.25, 9.5] == times(settings, "a")
    assert [(9, 4_500), (10, 4_550), (9, 4_500), (10, 5_500)] == [
        (sum(row["days"][1::5]), sum(row["days"][2::5])) for row in rows[-4:]
    ]


def test_days_are_made_again_from_the_first_that_late_news_change(settings: Settings) -> None:
    """A late payment changes every row after it; days before it stay, but for the newest, which may have been cut."""
    bring(settings, NOW)
    folder = tilelog.log_folder(settings, "card_tiles")
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    write_twin(settings, [pay("t", 9.25)])

    bring(settings, NOW)

    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert ["2025-03-09.parquet", "2025-03-10.parquet"] == sorted(n for n in before if before[n] != after[n])
    assert [6.5, 7.5, 8.0, 8.5, 9.25, 9.5] == times(settings, "a")


def test_a_label_changes_days_from_when_it_was_known(settings: Settings) -> None:
    """However old the payment is that it is about."""
    write_twin(settings, [pay("t", 0.25)])
    bring(settings, NOW)
    folder = tilelog.log_folder(settings, "card_tiles")
    before = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    write_twin(settings, [undo(pay("t", 0.25), 9.25)], first=2)

    bring(settings, NOW)

    after = {file.name: file.stat().st_mtime_ns for file in folder.glob("*.parquet")}
    assert ["2025-03-09.parquet", "2025-03-10.parquet"] == sorted(n for n in before if before[n] != after[n])
    assert [6.5, 7.5, 8.0, 8.5, 9.25, 9.5] == times(settings, "a")


def test_a_stream_without_recorded_days_has_a_log(tmp_path: Path) -> None:
    """Where nothing is generated or imported, what was streamed is the whole history."""
    found = Settings(home=tmp_path)
    write_twin(found, [pay("t", 8.25)])

    bring(found, NOW)

    assert [8.25] == times(found, "a")
