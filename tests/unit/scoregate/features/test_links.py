"""Rows of links: what events leave in them, in whatever order they come."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

from scoregate.features import Status, encoding
from scoregate.features.links import DAYS_KEPT, FEATURES, LINKS_KEPT, Links, own_group
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.reading import Marker, StoredRow, assemble

DAY_US = 86_400_000_000
NOW_US = 1_790_000_000_000_000
TODAY = NOW_US // DAY_US


def event(group: str = "", name: str = "n1", *also: str, key: str = "k" * 32) -> dict[str, Any]:
    said = {"alert_group": group, "alert_also": list(also)} if group else {}
    return {"alert_key": key, "name_sketch": name, **said}


def held(row: Links) -> list[tuple[str, str, int]]:
    stored = row.all()
    lists = [encoding.decode_value(stored[name], dtype) for name, dtype in FEATURES.items()]
    return list(zip(*lists, strict=True))


def test_an_event_leaves_its_group_and_name() -> None:
    """With the day on which it was last seen."""
    row = Links()
    row.add(NOW_US - DAY_US, event("g1"))
    row.add(NOW_US, event("g1"))

    assert [("g1", "n1", TODAY)] == held(row)


def test_an_event_that_nobody_decided_founds_a_group() -> None:
    """Named by its own time and key, as the decision would have named it."""
    row = Links()
    row.add(NOW_US, event())

    assert [(own_group(NOW_US, "k" * 32), "n1", TODAY)] == held(row)


def test_own_groups_sort_by_age() -> None:
    """To the millisecond, whatever the hash."""
    assert own_group(NOW_US, "f" * 32) < own_group(NOW_US + 1_000, "0" * 32)


def test_a_row_without_the_columns_links_nobody() -> None:
    """An event of before there were groups."""
    row = Links()

    assert not row.add(NOW_US, {"device_key": "d"})
    assert [] == held(row)


def test_a_merge_renames_what_is_held() -> None:
    """Two names of one alert become one, with the newest day of each name."""
    row = Links()
    row.add(NOW_US - 2 * DAY_US, event("g1", "n1"))
    row.add(NOW_US - DAY_US, event("g2", "n1"))
    row.add(NOW_US - DAY_US, event("g3", "n3"))
    row.add(NOW_US, event("g1", "n2", "g2"))

    assert [("g1", "n1", TODAY - 1), ("g3", "n3", TODAY - 1), ("g1", "n2", TODAY)] == held(row)


def test_order_and_repetition_do_not_matter() -> None:
    """Events of one row in every order, some of them twice."""
    events = [(NOW_US - i * 12 * DAY_US, event(f"g{i % 2}", f"n{i % 2}")) for i in range(5)]
    found = set()
    for order in itertools.permutations(events):
        row = Links()
        for at_us, said in (*order, *order[:2]):
            row.add(at_us, said)
        found.add((tuple(held(row)), row.last_event_us))

    assert 1 == len(found)


def test_too_many_leave_the_newest_in_any_order() -> None:
    """A device that half a town uses keeps its newest links."""
    events = [(NOW_US - i * DAY_US // 4, event(f"g{i:03}", f"n{i}")) for i in range(2 * LINKS_KEPT)]
    newest = sorted((at_us // DAY_US, said["alert_group"]) for at_us, said in events)[-LINKS_KEPT:]
    rows = [Links(), Links()]
    for row, order in zip(rows, (events, random.Random(1).sample(events, len(events))), strict=True):
        for at_us, said in order:
            row.add(at_us, said)

    assert held(rows[0]) == held(rows[1])
    assert newest == [(day, group) for group, _, day in held(rows[0])]


def test_days_are_kept_before_the_newest() -> None:
    """What is older is dropped, or never taken."""
    row = Links()
    row.add(NOW_US - DAYS_KEPT * DAY_US, event("g1"))
    row.add(NOW_US, event("g2"))

    assert not row.add(NOW_US - DAYS_KEPT * DAY_US, event("g1"))
    assert [("g2", "n1", TODAY)] == held(row)


def test_a_stored_row_goes_on_as_it_was() -> None:
    """Written and read between any two events: nothing differs, and nothing is written that did not change."""
    whole, stored = Links(), Links()
    for i in range(10):
        for row in (whole, stored):
            row.add(NOW_US + i, event(f"g{i % 3}", f"n{i}", "g2"))
        assert stored.changes().keys() == FEATURES.keys()
        stored = Links(stored.all(), stored.last_event_us)

    assert held(whole) == held(stored)
    assert {} == stored.changes()
    assert whole.last_event_us == stored.last_event_us


@pytest.mark.parametrize("spoil", [b"\xff", encoding.encode_value(["g"] * 3, "string_list")])
def test_damaged_lists_are_refused(spoil: bytes) -> None:
    """Rather than links that are nobody's."""
    row = Links()
    row.add(NOW_US, event("g1"))

    with pytest.raises(ValueError, match="row of links"):
        Links({**row.all(), "groups": spoil})


def test_a_view_of_links_ages_by_its_stream() -> None:
    """No marker or uneven lists: missing. No row: linked to nobody, and that is known. An old marker: stale."""
    view = ViewPlan("device_links", "links", "applications", ("device_key",), tuple(FEATURES.items()), 3.0)
    plan = FeaturePlan("kyc_v1", "test", (view,))
    whole = StoredRow({"groups": ["g"], "names": ["n"], "days": [1]}, 1.0)
    uneven = StoredRow({"groups": ["g"], "names": [], "days": [1]}, 1.0)

    def status(row: StoredRow | None, at_s: float | None) -> Status:
        markers = {} if at_s is None else {"applications": Marker("e", at_s)}
        return assemble(plan, {"device_key": "d"}, [row], markers, 100.0).views["device_links"].status

    assert [Status.FRESH, Status.FRESH, Status.STALE, Status.MISSING, Status.MISSING] == [
        status(whole, 99.0),
        status(None, 99.0),
        status(whole, 90.0),
        status(whole, None),
        status(uneven, 99.0),
    ]
