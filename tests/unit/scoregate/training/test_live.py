"""What windows and backfill read of the offline twin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from payments import STREAM, event, outgoing, stated, write_twin
from scoregate.events import Effect, Event
from scoregate.settings import Settings
from scoregate.streaming.twin import live_folder, write_live
from scoregate.training import live

HOUR_US = 3_600_000_000
COLUMNS = {"key": "card", "amount_minor": "cents", "party": "shop"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path)


def count(subject: str, at_us: int, **row: Any) -> Event:
    return event(Effect.COUNT, subject, at_us, card="a", shop="s", cents=100, **row)


def label(subject: str, known_us: int, is_bad: bool) -> Event:
    return event(Effect.LABEL, subject, 0, known_us, is_bad, card="a", shop="s", cents=100)


def counted(settings: Settings, *events: Event) -> list[dict[str, Any]]:
    write_twin(settings, events)
    return list(live.counted(live.read(settings, STREAM), COLUMNS).to_pylist())


def test_a_stream_without_a_twin_is_empty(settings: Settings) -> None:
    """Nothing was streamed: no rows, and the id before all others."""
    assert 0 == live.read(settings, STREAM).num_rows
    assert live.NOTHING == live.last_id(settings, STREAM)
    assert 0 == live.counted(live.read(settings, STREAM), COLUMNS).num_rows


def test_what_was_written_twice_is_there_once(settings: Settings) -> None:
    """A writer's number says which event it is, whatever file or entry it came in; the order is that of the stream."""
    events = [count(f"t{i}", i) for i in range(4)]
    write_twin(settings, events[2:], first=3)
    write_twin(settings, events[:3])
    write_live(live_folder(settings.data, STREAM), [("9-0", outgoing(events)[0], events[0])])

    found = live.read(settings, STREAM)

    assert ["t0", "t1", "t2", "t3"] == found["subject"].to_pylist()
    assert {"w": 4} == live.last_numbers(found)
    assert "9-0" == live.last_id(settings, STREAM)


def test_ids_are_ordered_as_numbers(settings: Settings) -> None:
    """As text 10-0 would come before 9-0."""
    write_twin(settings, [count("t", 1)], first=9)
    write_twin(settings, [count("u", 1)], first=10)

    assert "10-0" == live.last_id(settings, STREAM)
    assert ["t", "u"] == live.read(settings, STREAM)["subject"].to_pylist()


def test_a_count_has_the_columns_of_the_view(settings: Settings) -> None:
    """What is not counted by is left out, an absent amount is 0, and who lacks the entity is not counted."""
    rows = counted(
        settings,
        count("t", 5, other=[1]),
        event(Effect.COUNT, "u", 6, card="b", shop="s\n"),
        event(Effect.COUNT, "v", 7, shop="s"),
    )

    assert [("a", 5, 100, "s"), ("b", 6, 0, "s\n")] == [
        (row["key"], row["event_us"], row["amount_minor"], row["party"]) for row in rows
    ]


@pytest.mark.parametrize(
    ("labels", "since_us"),
    [
        ([(7, True)], 7),
        ([(7, True), (9, True)], 7),
        ([(7, True), (9, False)], None),
        ([(9, False), (7, True)], None),
        ([(7, True), (8, False), (9, True)], 9),
        ([(9, True), (8, False), (7, True)], 9),
        ([(7, False)], None),
    ],
)
def test_the_label_that_became_known_last_holds(
    settings: Settings, labels: list[tuple[int, bool]], since_us: int | None
) -> None:
    """In whatever order labels come; one that says what is known already does not make it younger."""
    rows = counted(settings, count("t", 0), *(label("t", known_us, is_bad) for known_us, is_bad in labels))

    assert [since_us] == [row["label_us"] for row in rows]


def test_a_reversal_is_that_of_its_own_payment(settings: Settings) -> None:
    """It may even come first; others of the same card stand."""
    undone = event(Effect.REVERSE, "u", 0, 8, card="a", shop="s", cents=100)

    rows = counted(settings, undone, count("t", 0), count("u", 0))

    assert [None, 8] == [row["reversed_us"] for row in rows]


def test_a_file_changes_tiles_from_its_earliest_news_on(settings: Settings) -> None:
    """A late event changes them since it happened, a label since it was known."""
    write_twin(settings, [label("t", 9 * HOUR_US, True), count("u", 5 * HOUR_US)])
    (file,) = live.files(settings, STREAM)

    assert 5 * HOUR_US == live.changes_from_us(file)


def test_statements_are_facts_of_their_view(settings: Settings) -> None:
    """What is not stated is null."""
    write_twin(settings, [stated("a", 5, limit=100), stated("b", 6)])

    found = live.stated(live.read(settings, "facts"), "card_facts", "card", [("limit", "int64")])

    assert ["card", "event_timestamp", "limit"] == found.column_names
    assert [("a", 100), ("b", None)] == list(zip(found["card"].to_pylist(), found["limit"].to_pylist(), strict=True))
    assert 0 == live.stated(live.read(settings, "facts"), "other", "card", [("limit", "int64")]).num_rows
