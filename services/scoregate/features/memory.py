"""Features from a dict: the port without a server, for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow
from scoregate.features.plan import FeaturePlan
from scoregate.features.reading import Marker, StoredRow, assemble


class MemoryFeatures:
    """Rows by (view, values of its join keys); and a marker per stream.

    `down` makes every read raise, as a dead store does.
    """

    def __init__(self, plan: FeaturePlan) -> None:
        self._plan = plan
        self.rows: dict[tuple[str, tuple[str, ...]], StoredRow] = {}
        self.markers: dict[str, Marker] = {}
        self.down = False

    def put(self, view: str, keys: tuple[str, ...], values: dict[str, Any], at_s: float) -> None:
        self.rows[view, keys] = StoredRow(values, at_s)

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        if self.down:
            raise StoreUnavailable
        found = [self.rows.get((view.name, tuple(entities[k] for k in view.join_keys))) for view in self._plan.views]
        return assemble(self._plan, entities, found, self.markers, now_s)

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        return [await self.read(each, now_s) for each in entities]

    async def close(self) -> None:
        pass
