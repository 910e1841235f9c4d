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
from scoregate.features.plan import FeaturePlan

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
    at_s: float,
) -> FeatureRow:
    """Judge each view's row, given in the plan's order as (values, time) or (None, None) where the store has none."""
    views = {}
    for view, (values, row_at_s) in zip(plan.views, rows, strict=True):
        if view.kind == "tiles":
            marker = markers.get(view.stream)
            if marker is None:
                views[view.name] = ViewRow(_NO_VALUES, Status.MISSING, None)
                continue
            age_s = max(at_s - marker.watermark_s, 0.0)
            stale = view.max_age_s and age_s > view.max_age_s
            status = Status.STALE if stale else Status.FRESH
            views[view.name] = ViewRow(values or _NO_VALUES, status, age_s, known=values is not None)
            continue
        if values is None or row_at_s is None:
            # Only a store that is known to be whole can tell that it does not know somebody.
            views[view.name] = ViewRow(_NO_VALUES, Status.MISSING, None, known=view.stream not in markers)
            continue
        age_s = max(at_s - row_at_s, 0.0)
        stale = view.max_age_s and age_s > view.max_age_s
        views[view.name] = ViewRow(values, Status.STALE if stale else Status.FRESH, age_s)
    return FeatureRow(views)
