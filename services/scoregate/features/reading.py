"""What a read means: FRESH, STALE, MISSING or zero, from what the store answered; pure, shared by every adapter.

A view of facts ages by its row's own time; its stream's marker only tells whether the store is whole.
A view of tiles or links ages by its stream: loader and workers leave a marker with an epoch (which filling of the store
this is) and a watermark for each shard (up to when its events are counted); the oldest counts.

    no marker                      the store was flushed or never filled → MISSING, whatever rows are left
    watermark older than allowed   → STALE
    not all that was acknowledged is on the stream → STALE, however new the watermark is
    tiles: marker fresh, no row    nothing happened → FRESH, windows read 0
    links: marker fresh, no row    nothing happened → FRESH, linked to nobody
    facts: marker there, no row    MISSING, and the entity is unknown
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.links import uneven
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.windows import GRAIN_S, STRIDE
from scoregate.values import frozen

CLOCK_SKEW_S = 60.0
"""How far ahead of ours a writer's clock may be."""

_NO_VALUES: Mapping[str, Any] = {}
_FRESH, _STALE, _MISSING = Status


@frozen
class Marker:
    """How far a stream is counted, in seconds since the epoch: what is on it, and what was acknowledged anywhere.

    The second is what a relay vouches for; unbounded where none is asked, as in a store that only a loader fills.
    """

    epoch: str
    watermark_s: float
    complete_s: float = math.inf


def marker_key(project: str, stream: str) -> bytes:
    """Redis key of a stream's marker, a hash.

    `epoch` and `watermark_us` are left by whoever filled the store; once workers count, `shards` says how many there
    are and `watermark_us:<shard>` up to when each has counted. The braces put all of a stream into one cluster slot.
    """
    return f"scoregate:{{{project}:{stream}}}:marker".encode()


def read_marker(raw: Mapping[bytes, bytes] | Exception) -> Marker | None:
    """Read what the store holds of a marker; one that is damaged is none."""
    try:
        if isinstance(raw, Exception) or not raw:
            return None
        shards = int(raw.get(b"shards", b"0"))
        watermarks = [raw[b"watermark_us:%d" % shard] for shard in range(shards)] or [raw[b"watermark_us"]]
        return Marker(raw[b"epoch"].decode(), min(map(int, watermarks)) / 1e6)
    except (KeyError, ValueError, OverflowError):
        return None


@frozen
class StoredRow:
    """What the store has of one entity in one view; `at_s` is None for a row that cannot be read."""

    values: Mapping[str, Any]
    at_s: float | None
    version: str | None = None


UNREADABLE = StoredRow(_NO_VALUES, None)


def assemble(
    plan: FeaturePlan,
    entities: Mapping[str, str],
    rows: Sequence[StoredRow | None],
    markers: Mapping[str, Marker],
    now_s: float,
) -> FeatureRow:
    """Judge each view's row, given in the plan's order; None where the store has none."""
    judged = (judge(view, row, markers.get(view.stream), now_s) for view, row in zip(plan.views, rows, strict=True))
    return FeatureRow(dict(zip((view.name for view in plan.views), judged, strict=True)), entities)


def judge(view: ViewPlan, row: StoredRow | None, marker: Marker | None, now_s: float) -> ViewRow:
    """Judge one view's row."""
    if row is not None and row.at_s is None:
        return ViewRow(_NO_VALUES, _MISSING, None)
    is_damaged = _DAMAGED.get(view.kind)
    if is_damaged is not None:
        if marker is None or (row is not None and is_damaged(row.values)):
            return ViewRow(_NO_VALUES, _MISSING, None)
        status, age_s = _aged(now_s - marker.watermark_s, view.max_age_s)
        if view.max_age_s and now_s - marker.complete_s > view.max_age_s:
            status = _STALE
        if row is None:
            return ViewRow(_NO_VALUES, status, age_s, known=False)
        return ViewRow(row.values, status, age_s, version=row.version)
    if row is None or row.at_s is None:
        # Only a store that is known to be whole can tell that it does not know somebody.
        return ViewRow(_NO_VALUES, _MISSING, None, known=marker is None)
    status, age_s = _aged(now_s - row.at_s, view.max_age_s)
    return ViewRow(row.values, status, age_s, version=row.version)


def _aged(age_s: float, max_age_s: float) -> tuple[Status, float]:
    """Judge an age. A time ahead of ours by more than clocks differ says nothing about how old the value is."""
    if age_s < -CLOCK_SKEW_S or (max_age_s and age_s > max_age_s):
        return _STALE, max(age_s, 0.0)
    return _FRESH, max(age_s, 0.0)


def _damaged(values: Mapping[str, Any]) -> bool:
    """Whether a row of tiles cannot be one: a count of numbers that no writer makes."""
    for name, divisor in _DIVISORS:
        numbers = values.get(name)
        if numbers and len(numbers) % divisor:
            return True
    return False


_DIVISORS = [*((grain, STRIDE) for grain in GRAIN_S), ("hour_parties", 2), ("day_parties", 2)]

_DAMAGED: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {"tiles": _damaged, "links": uneven}
"""Kinds of views that age by their stream, and how a row shows that it cannot be one."""
