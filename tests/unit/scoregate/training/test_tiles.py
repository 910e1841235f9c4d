"""Tiles in bulk against windows recomputed from the raw events."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoregate.features import encoding
from scoregate.features.accumulate import MARKS, Tiles
from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, LABEL_DELAY_DAYS, STRIDE, WINDOWS, Windows, party_id
from scoregate.training.tiles import PARTY_LISTS, TileIndex, tiles_at

DAY_US = 86_400_000_000
START_US = 20_000 * DAY_US

Event = tuple[str, int, int, str, int | None, int | None]
"""Key, time, amount, party, and when it was known to be fraud and taken back, if ever."""


def table(events: list[Event]) -> pa.Table:
    columns = list(zip(*events, strict=True)) if events else [[]] * 6
    names = ["key", "event_us", "amount_minor", "party", "label_us", "reversed_us"]
    types = [pa.string(), pa.int64(), pa.int64(), pa.string(), pa.int64(), pa.int64()]
    return pa.table({n: pa.array(list(c), t) for n, c, t in zip(names, columns, types, strict=True)})


def queries(wanted: list[tuple[str, int]]) -> pa.Table:
    keys, times = zip(*wanted, strict=True)
    return pa.table({"key": pa.array(keys, pa.string()), "at_us": pa.array(times, pa.int64())})


def brute_tiles(events: list[Event], key: str, at_us: int) -> dict[str, Any]:
    """The format of `features.windows`, spelled out event by event."""
    own = sorted((e for e in events if e[0] == key and e[1] < at_us), key=lambda e: e[1])
    out: dict[str, Any] = {}
    for grain, width_s in GRAIN_S.items():
        width = width_s * 1_000_000
        oldest = at_us // width - KEPT[grain] + 1
        cells: dict[int, list[int]] = {}
        parties: dict[int, list[int]] = {}
        for _, t, amount, party, label, undone in own:
            if t // width < oldest:
                continue
            cell = cells.setdefault(t // width, [0, 0, 0, 0])
            if undone is None or undone >= at_us:
                cell[0] += 1
                cell[1] += amount
                cell[2] += (amount // 100) ** 2
                cell[3] += label is not None and label < at_us
            seen = parties.setdefault(t // width, [])
            if party_id(party) not in seen and len(seen) <= DISTINCT_CAP:
                seen.append(party_id(party))
        out[grain] = [n for index in sorted(cells) for n in (index, *cells[index])]
        if grain in PARTY_LISTS:
            out[PARTY_LISTS[grain]] = [n for index in sorted(parties) for p in parties[index] for n in (index, p)]
    out["last_event_us"] = own[-1][1] if out["days"] else 0
    return out


def standing(events: list[Event], at_us: int) -> list[Event]:
    """Those that had not been taken back before a time."""
    return [e for e in events if e[5] is None or e[5] >= at_us]


def brute_windows(events: list[Event], key: str, at_us: int) -> dict[str, Any]:
    """Windows from raw events alone, without tiles."""
    own = [e for e in events if e[0] == key and e[1] < at_us]
    out: dict[str, Any] = {}
    for window, (grain, full) in WINDOWS.items():
        width = GRAIN_S[grain] * 1_000_000
        inside = [e for e in own if e[1] // width >= at_us // width - full]
        out[f"count_{window}"] = len(standing(inside, at_us))
        out[f"sum_{window}"] = sum(e[2] for e in standing(inside, at_us))
        if grain in PARTY_LISTS:
            parties = len({e[3] for e in inside})
            out[f"distinct_{window}"] = (min(parties, DISTINCT_CAP), parties > DISTINCT_CAP)
    day = at_us // DAY_US
    risky = [
        e for e in standing(own, at_us) if day - LABEL_DELAY_DAYS - 30 <= e[1] // DAY_US <= day - LABEL_DELAY_DAYS - 1
    ]
    out["risk"] = (sum(e[4] is not None and e[4] < at_us for e in risky), len(risky))
    recent = [e[1] for e in own if e[1] // DAY_US >= day - KEPT["days"] + 1]
    out["since"] = (at_us / 1e6 - max(own, key=lambda e: e[1])[1] / 1e6) if recent else None
    return out


def read_windows(tiles: dict[str, Any], at_us: int) -> dict[str, Any]:
    windows = Windows(tiles, at_us / 1e6)
    out: dict[str, Any] = {}
    for window, (grain, _) in WINDOWS.items():
        out[f"count_{window}"] = windows.count(window)
        out[f"sum_{window}"] = windows.sum_minor(window)
        if grain in PARTY_LISTS:
            out[f"distinct_{window}"] = (windows.distinct(window), windows.saturated(window))
    out["risk"] = windows.risk_30d()
    since = windows.since_last_s()
    out["since"] = None if math.isnan(since) else since
    return out


def rows(result: pa.Table) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in ("key", "at_us")} for row in result.to_pylist()]


def stream(seed: int, count: int, days: float, keys: int = 4, parties: int = 50) -> list[Event]:
    """Random events with bursts on few keys, repeated times, and times on the edges of minutes, hours and days."""
    rng = np.random.default_rng(seed)
    at = START_US + rng.integers(0, int(days * DAY_US), count)
    for width_us in (60_000_000, 3_600_000_000, DAY_US):
        edge = rng.random(count) < 0.1
        at[edge] = at[edge] // width_us * width_us + rng.integers(-1, 2, edge.sum())
    copies = rng.random(count) < 0.1
    at[copies] = at[rng.integers(0, count, copies.sum())]
    key = [f"k{i}" for i in rng.integers(0, keys, count)]
    amount = rng.integers(1, 1_000_000, count).tolist()
    party = [f"p{i}" for i in rng.integers(0, parties, count)]
    label, undone = (
        np.where(rng.random(count) < share, at + rng.integers(0, 12 * DAY_US, count), -1).tolist()
        for share in (0.2, 0.15)
    )
    return [
        (k, t, a, p, None if lab < 0 else lab, None if un < 0 else un)
        for k, t, a, p, lab, un in zip(key, at.tolist(), amount, party, label, undone, strict=True)
    ]


def times_around(events: list[Event], seed: int, count: int) -> list[tuple[str, int]]:
    rng = np.random.default_rng(seed)
    picked = [events[i] for i in rng.integers(0, len(events), count)]
    shift = rng.choice([-1, 0, 1, 59_999_999, DAY_US, 37 * DAY_US, 38 * DAY_US, 60 * DAY_US], count)
    return [
        (e[0], int(next((e[k] for k in (4, 5) if e[k] is not None and i % 3 == k - 3), e[1]) + s))
        for i, (e, s) in enumerate(zip(picked, shift, strict=True))
    ]


@pytest.mark.parametrize(("seed", "count", "days"), [(1, 400, 80), (2, 600, 3), (3, 300, 0.1), (4, 1, 1)])
def test_tiles_are_those_counted_event_by_event(seed: int, count: int, days: float) -> None:
    """Every list of every row is exactly what counting the raw events gives."""
    events = stream(seed, count, days)
    wanted = [*times_around(events, seed, 150), ("nobody", START_US)]

    assert [brute_tiles(events, k, t) for k, t in wanted] == rows(tiles_at(table(events), queries(wanted)))


@pytest.mark.parametrize(("seed", "count", "days"), [(5, 500, 60), (6, 500, 2)])
def test_windows_are_those_of_the_raw_events(seed: int, count: int, days: float) -> None:
    """Windows read from tiles equal windows counted from events, at any time and not only just after an event."""
    events = stream(seed, count, days)
    wanted = times_around(events, seed, 200)

    found = [
        read_windows(tiles, t)
        for tiles, (_, t) in zip(rows(tiles_at(table(events), queries(wanted))), wanted, strict=True)
    ]

    assert [brute_windows(events, k, t) for k, t in wanted] == found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"),
            st.integers(0, 400).map(lambda n: START_US + n * 13_000_000_000),
            st.integers(1, 10_000),
            st.sampled_from("xyz"),
            st.none() | st.integers(0, 12).map(lambda d: START_US + d * DAY_US),
            st.none() | st.integers(0, 12).map(lambda d: START_US + d * DAY_US),
        ),
        max_size=30,
    ),
    st.lists(st.integers(-1, 800).map(lambda n: START_US + n * 13_000_000_000), min_size=1, max_size=5),
)
def test_any_stream_gives_the_tiles_of_its_events(events: list[Event], times: list[int]) -> None:
    """No order of events, ties, gaps or empty streams make a difference."""
    events = [
        (k, t, a, p, *(None if known is None else max(known, t) for known in later)) for k, t, a, p, *later in events
    ]
    wanted = [(key, t) for key in "ab" for t in times]

    assert [brute_tiles(events, k, t) for k, t in wanted] == rows(tiles_at(table(events), queries(wanted)))


def test_more_parties_than_the_cap_are_saturated() -> None:
    """A tile keeps one party more than the cap, so that a larger union is known to be larger."""
    events: list[Event] = [("k", START_US + i, 100, f"p{i}", None, None) for i in range(60)]

    tiles = rows(tiles_at(table(events), queries([("k", START_US + 100), ("k", START_US + 32), ("k", START_US + 33)])))

    assert [2 * (DISTINCT_CAP + 1), 2 * 32, 2 * 33] == [len(t["day_parties"]) for t in tiles]
    assert [True, False, True] == [Windows(t, (START_US + 100) / 1e6).saturated("1d") for t in tiles]


def test_the_log_holds_each_change_once_a_microsecond_after_it() -> None:
    """A request at the time of an event does not see it; a label that arrives, or a reversal, changes the row again."""
    events: list[Event] = [
        ("a", START_US, 100, "p", START_US + DAY_US, START_US + 2 * DAY_US),
        ("a", START_US, 200, "q", None, None),
        ("b", START_US + 5, 1, "p", None, None),
    ]

    log = TileIndex(table(events)).log(0, START_US + 9 * DAY_US)

    changes = [("a", START_US + 1), ("a", START_US + DAY_US + 1), ("a", START_US + 2 * DAY_US + 1), ("b", START_US + 6)]
    assert changes == list(zip(log["key"].to_pylist(), log["at_us"].to_pylist(), strict=True))
    assert [[2, 300, 5, 0], [2, 300, 5, 1], [1, 200, 4, 0], [1, 1, 0, 0]] == [
        d[1:STRIDE] for d in log["days"].to_pylist()
    ]


def test_any_request_sees_in_the_log_what_it_would_count() -> None:
    """Reading the newest row of the log at some time gives the windows of that time."""
    events = stream(7, 300, 50)
    log = TileIndex(table(events)).log(0, START_US + 200 * DAY_US).to_pylist()
    for key, t in times_around(events, 8, 80):
        before = [row for row in log if row["key"] == key and row["at_us"] <= t]
        newest = max(before, key=lambda row: row["at_us"]) if before else {}
        expected = brute_windows(events, key, t)
        found = read_windows(newest, t)
        if expected["since"] is None:
            expected.pop("since"), found.pop("since")

        assert expected == found


def test_latest_is_the_last_row_of_each_entity_in_the_log() -> None:
    """What starts a log or fills the online store is a row of the log itself."""
    events = stream(9, 200, 30)
    index = TileIndex(table(events))
    until = START_US + 20 * DAY_US
    last = {row["key"]: row for row in index.log(0, until).to_pylist()}

    assert last == {row["key"]: row for row in index.latest(0, until).to_pylist()}


def test_views_without_parties_or_amounts_have_no_such_lists() -> None:
    """A view that counts no parties has no party lists, and amounts count as 0."""
    events = table(stream(10, 20, 1)).select(["key", "event_us"])

    result = tiles_at(events, queries([("k0", START_US + DAY_US)]))

    assert ["key", "at_us", "minutes", "hours", "days", "last_event_us"] == result.column_names
    assert [0, 0, 0] == result["days"].to_pylist()[0][2:STRIDE]


def streamed(events: list[Event], key: str) -> tuple[dict[str, Any], int]:
    """What a worker has of an entity that was given its events one by one, and then what became known of them."""
    tiles = Tiles(parties=True)
    for k, t, amount, party, _, _ in events:
        if k == key:
            tiles.count(t, amount, party_id(party))
    for subject, (k, t, amount, _, label, undone) in enumerate(events):
        if k == key and label is not None:
            tiles.label(subject, t, is_bad=True, known_us=label)
        if k == key and undone is not None:
            tiles.reverse(subject, t, amount)
    stored = tiles.all()
    stored.pop(MARKS, None)
    dtypes = {name: "int64" if name == "last_event_us" else "int64_list" for name in stored}
    return {name: encoding.decode_value(stored[name], dtypes[name]) for name in stored}, tiles.last_event_us


def sorted_pairs(tiles: dict[str, Any]) -> dict[str, Any]:
    """The same tiles with the parties of each in one order: which came first shows only where a list is cut."""
    found = dict(tiles)
    for name in PARTY_LISTS.values():
        found[name] = sorted(zip(tiles[name][::2], tiles[name][1::2], strict=True))
    return found


@pytest.mark.parametrize(("seed", "count", "days"), [(11, 400, 80), (12, 600, 3), (13, 800, 0.1), (14, 1, 1)])
def test_the_newest_tiles_are_those_that_were_streamed(seed: int, count: int, days: float) -> None:
    """Counted in bulk or one by one as they come, in any order: the same tiles, of many parties the same ones kept."""
    events = stream(seed, count, days, parties=90)

    found = TileIndex(table(events)).newest().to_pylist()

    for row in found:
        expected, last_us = streamed(events, row["key"])
        assert last_us + 1 == row["at_us"]
        assert sorted_pairs(expected) == sorted_pairs({name: row[name] for name in expected})
    assert {event[0] for event in events} == {row["key"] for row in found}
