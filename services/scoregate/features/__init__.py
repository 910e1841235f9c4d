"""The port to online features: which views a model reads, and what came back of them.

windows.py      tiles → windows, the one definition
accumulate.py   events → tiles, one at a time
plan.py         what one FeatureService reads, compiled from the Feast registry into the artefact
reading.py      fresh, stale, missing or zero: what an answer of the store means
encoding.py     Feast's documented online format: keys, field names, values
online.py       reads it from Valkey, one round trip
round_trip.py   many Redis commands in one write
patience.py     its timeout
breaker.py      leaves a dead store alone
memory.py       the same port from a dict, for tests
offline.py      Feast's DuckDB store with as-of joins                (extra: train)
feast.py        the same port through Feast's SDK, as the oracle     (extra: train)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from enum import StrEnum
from typing import Any, Protocol

from scoregate.values import frozen

LATE_S = 60.0
"""A request may come this long after its event: later, tiles hold events that the request's windows should not."""

SUPPLIED = "supplied"
"""The version of a view that the request brought itself."""


class Status(StrEnum):
    """What is known of a view when a request reads it. An absent fact is never FRESH."""

    FRESH = "fresh"
    STALE = "stale"
    MISSING = "missing"


# A member by its name is looked up each time, at what a comparison costs ten times over.
_STALE, _MISSING = Status.STALE, Status.MISSING


@frozen
class ViewRow:
    """One entity's row of one view.

    `values` by feature name, None where the store has null; empty for an entity without tiles in a whole store.
    `age_s` is seconds between the row's (facts) or the stream's (tiles) time and the request; None when MISSING.
    `known` is False when the store is whole and has no row for this entity.
    `version` is the id of the last stream entry counted in the row; None where nothing was streamed into it.
    """

    values: Mapping[str, Any]
    status: Status
    age_s: float | None
    known: bool = True
    version: str | None = None
    windows: dict[float, Any] = field(default_factory=dict, init=False, compare=False, repr=False)
    """The view's windows by time, where they were asked for: requests of one moment about one entity share them."""


@frozen
class FeatureRow:
    """All views of one request, by view name, and whose they are: the value of each join key."""

    views: Mapping[str, ViewRow] = field(default_factory=dict)
    entities: Mapping[str, str] = field(default_factory=dict)

    def get(self, view: str, feature: str) -> Any:
        """Return a value, or None when the view is missing, the entity unknown, or the value null."""
        row = self.views.get(view)
        if row is None or row.status is _MISSING:
            return None
        return row.values.get(feature)

    def usable(self, view: str) -> bool:
        """Whether tiles of this view may be counted: the store is known to be whole, however old."""
        row = self.views.get(view)
        return row is not None and row.status is not _MISSING

    @property
    def stale(self) -> list[str]:
        return [name for name, row in self.views.items() if row.status is _STALE]

    @property
    def missing(self) -> list[str]:
        """Views that are MISSING, and `view:feature` for each null in a view that is there."""
        found = []
        for name, row in self.views.items():
            if row.status is _MISSING:
                found.append(name)
            elif None in row.values.values():
                found += [f"{name}:{feature}" for feature, value in row.values.items() if value is None]
        return found


class FeatureSource(Protocol):
    """Where a service reads features. Raises `StoreUnavailable` when the store does not answer in time."""

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        """Read every view of the plan for these entities (join key → value) in one round trip.

        `now_s`: our own time, seconds since the epoch, that ages are measured against; never one that a caller gives.
        """
        ...

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        """Read for many at once, in their order; what they share is one object in all their rows."""
        ...

    async def close(self) -> None: ...
