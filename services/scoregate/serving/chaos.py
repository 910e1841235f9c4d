"""Rehearsals of faults: a process of a development stack behaves as if a part of it were broken.

Nothing of this is in the way of a process without SCOREGATE_CHAOS. With it, a file says what is to go wrong and until
when; it is looked at ten times a second, so that a switch needs no restart, and one that is forgotten ends by itself.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

from scoregate.errors import LedgerUnavailable, ModelUnavailable, ScoregateError, StoreUnavailable
from scoregate.events import Event
from scoregate.features import FeatureRow, FeatureSource, Status, ViewRow
from scoregate.ledger import Appended, Decision, Entry, Ledger
from scoregate.ledger.forwarding import ForwardingLedger
from scoregate.models import Matrix, Scores
from scoregate.models.forest import Forest

FAULTS: Final[Mapping[str, tuple[str, ...]]] = {
    "store": ("slow", "dead", "wrong", "stale"),
    "model": ("absent",),
    "ledger": ("full",),
    "clock": ("ahead", "behind"),
}
"""What may be broken, and how."""

LOOK_S = 0.1
SKEW_S = 3600.0


class Switches:
    """What a file says is broken now; a file that is not there or cannot be read breaks nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._faults: Mapping[str, str] = {}
        self._until_s = self._look_at_s = 0.0

    def of(self, part: str) -> str | None:
        """Return how a part is broken."""
        now_s = time.time()
        if not self._look_at_s - LOOK_S <= now_s < self._look_at_s:
            self._look_at_s = now_s + LOOK_S
            self._read()
        return self._faults.get(part) if now_s < self._until_s else None

    def _read(self) -> None:
        try:
            said = json.loads(self._path.read_text())
            self._faults, self._until_s = dict(said["faults"]), float(said["until_s"])
        except (OSError, ValueError, KeyError, TypeError):
            self._faults = {}

    def clock(self) -> float:
        return time.time() + {"ahead": SKEW_S, "behind": -SKEW_S}.get(self.of("clock") or "", 0.0)


def write(path: Path, faults: Mapping[str, str], until_s: float) -> None:
    """Say what is to be broken until a time, in seconds since the epoch."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_suffix(".new")
    aside.write_text(json.dumps({"faults": dict(faults), "until_s": until_s}))
    aside.replace(path)


class ChaoticFeatures:
    """A source that may be slower than its timeout, dead, unreadable, or old."""

    def __init__(self, source: FeatureSource, switches: Switches, timeout_s: float) -> None:
        self._source, self._switches, self._timeout_s = source, switches, timeout_s

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        await self._hinder()
        return self._spoilt(await self._source.read(entities, now_s))

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        await self._hinder()
        return [self._spoilt(row) for row in await self._source.read_all(entities, now_s)]

    async def _hinder(self) -> None:
        how = self._switches.of("store")
        if how == "slow":
            await asyncio.sleep(self._timeout_s)
        if how in {"slow", "dead"}:
            raise StoreUnavailable(f"chaos: the store is {how}")

    def _spoilt(self, row: FeatureRow) -> FeatureRow:
        match self._switches.of("store"):
            case "wrong":
                return replace(row, views={view: ViewRow({}, Status.MISSING, None) for view in row.views})
            case "stale":
                return replace(row, views={view: _aged(found) for view, found in row.views.items()})
        return row

    async def close(self) -> None:
        await self._source.close()


def _aged(found: ViewRow) -> ViewRow:
    if found.status is Status.MISSING or found.age_s is None:
        return found
    return replace(found, status=Status.STALE, age_s=found.age_s + SKEW_S)


class _ChaoticModel:
    """A model that may be absent."""

    def __init__(self, model: Forest, switches: Switches) -> None:
        self._model, self._switches = model, switches

    def predict(self, matrix: Matrix) -> Scores:
        self._require()
        return self._model.predict(matrix)

    def score(self, vector: Sequence[float]) -> float:
        self._require()
        return self._model.score(vector)

    def _require(self) -> None:
        if self._switches.of("model") == "absent":
            raise ModelUnavailable("chaos: the model is absent")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def chaotic_forest(forest: Forest, switches: Switches) -> Forest:
    """Return the forest as those see it who score by it."""
    return cast("Forest", _ChaoticModel(forest, switches))


class _ChaoticLedger(ForwardingLedger):
    """A ledger that may be full; whatever does not write goes through."""

    def __init__(self, ledger: Ledger, switches: Switches) -> None:
        self.inner, self._switches = ledger, switches

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        self._require()
        return await self.inner.append(entry, event)

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        self._require()
        return await self.inner.append_all(decisions)

    async def record(self, events: Sequence[Event]) -> list[bool]:
        self._require()
        return await self.inner.record(events)

    def _require(self) -> None:
        if self._switches.of("ledger") == "full":
            raise LedgerUnavailable("chaos: the ledger is full")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def chaotic_ledger(ledger: Ledger, switches: Switches) -> Ledger:
    """Return the ledger as those see it who write decisions and events."""
    return _ChaoticLedger(ledger, switches)
