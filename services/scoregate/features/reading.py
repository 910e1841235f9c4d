"""What a read means: FRESH, STALE, MISSING or zero, from what the store answered; pure, shared by every adapter.

A view of facts ages by its row's own time; its stream's marker only tells whether the store is whole.
A view of tiles ages by its stream: the loader or worker leaves a marker with an epoch (which filling of the store this
is) and a watermark (up to when events are counted).

    no marker                      the store was flushed or never filled → MISSING, whatever rows are left
    watermark older than allowed   → STALE
    tiles: marker fresh, no row    nothing happened → FRESH, windows read 0
    facts: marker there, no row    MISSING, and the entity is unknown
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.windows import GRAIN_S, STRIDE

CLOCK_SKEW_S = 60.0
"""How far ahead of ours a writer's clock may be."""

_NO_VALUES: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Marker:
    """How far a stream is counted. `watermark_s` is seconds since the epoch."""

    epoch: str
    watermark_s: float


def marker_key(project: str, stream: str) -> bytes:
    """Redis key of a stream's marker: a hash with `epoch` and `watermark_us`."""
    return f"scoregate:{project}:stream:{stream}".encode()


def assemble(
    plan: FeaturePlan,
    rows: Sequence[tuple[Mapping[str, Any] | None, float | None]],
    markers: Mapping[str, Marker],
    now_s: float,
) -> FeatureRow:
    """Judge each view's row, given in the plan's order as (values, time).

    (None, None) where the store has none, ({}, None) where it has one that cannot be read.
    """
    judged = (
        _judge(view, values, row_at_s, markers.get(view.stream), now_s)
        for view, (values, row_at_s) in zip(plan.views, rows, strict=True)
    )
    return FeatureRow(dict(zip((view.name for view in plan.views), judged, strict=True)))


def _judge(
    view: ViewPlan, values: Mapping[str, Any] | None, row_at_s: float | None, marker: Marker | None, now_s: float
) -> ViewRow:
    if values is not None and row_at_s is None:
        return ViewRow(_NO_VALUES, Status.MISSING, None)
    if view.kind == "tiles":
        if marker is None or (values and _damaged(values)):
            return ViewRow(_NO_VALUES, Status.MISSING, None)
        status, age_s = _aged(now_s - marker.watermark_s, view.max_age_s)
        return ViewRow(values or _NO_VALUES, status, age_s, known=values is not None)
    if values is None or row_at_s is None:
        # Only a store that is known to be whole can tell that it does not know somebody.
        return ViewRow(_NO_VALUES, Status.MISSING, None, known=marker is None)
    status, age_s = _aged(now_s - row_at_s, view.max_age_s)
    return ViewRow(values, status, age_s)


def _aged(age_s: float, max_age_s: float) -> tuple[Status, float]:
    """Judge an age. A time ahead of ours by more than clocks differ says nothing about how old the value is."""
    if age_s < -CLOCK_SKEW_S or (max_age_s and age_s > max_age_s):
        return Status.STALE, max(age_s, 0.0)
    return Status.FRESH, max(age_s, 0.0)


def _damaged(values: Mapping[str, Any]) -> bool:
    """Whether a row of tiles cannot be one: a count of numbers that no writer makes."""
    return any(len(values.get(grain) or ()) % STRIDE for grain in GRAIN_S)
