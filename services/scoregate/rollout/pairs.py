"""The evidence on a shadow: what it and the champion thought of the very same requests, from the ledger.

The champion agrees with itself, so its counts are the stable arm's, all of them in the first category of each gate; the
shadow's are the canary's. Both saw every request: a person counts once and for good, since neither could come out with
the busy accounts alone.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from scoregate.ledger import Entry, Recorded
from scoregate.rollout.decisions import REMEMBERED, score_bin, score_bins
from scoregate.rollout.verdict import Sample

CATEGORIES: Final[Mapping[str, tuple[str, ...]]] = {
    "failures": ("scored", "failed"),
    "disagreement": ("same", "milder", "harsher"),
    "distance": ("near", "lower", "higher"),
}
NEAR_BINS: Final = 1
"""Scores that lie in neighbouring bins are alike: a score at an edge falls to either side."""


class PairTally:
    """Counts decisions that have a shadow of one model, in the order of time. `outcomes`: names, mildest first."""

    def __init__(self, outcomes: Sequence[str], model: str) -> None:
        self._model = model
        self._ranks = {name: rank for rank, name in enumerate(outcomes)}
        self._bins = {name: place for place, name in enumerate(score_bins())}
        self._counts: Mapping[str, Counter[str]] = {gate: Counter() for gate in CATEGORIES}
        self._seen: OrderedDict[str, None] = OrderedDict()

    def add(self, recorded: Iterable[Recorded]) -> None:
        for entry in (one.entry for one in recorded):
            shadow = json.loads(entry.shadow or "{}")
            if shadow and shadow["model"].startswith(self._model) and self._is_new(entry):
                self._compare(entry, shadow)

    def samples(self) -> dict[str, Sample]:
        return {
            gate: Sample(
                names,
                (self._counts[gate].total(), *[0] * (len(names) - 1)),
                tuple(self._counts[gate][name] for name in names),
            )
            for gate, names in CATEGORIES.items()
        }

    def _is_new(self, entry: Entry) -> bool:
        tags = entry.personal.values()
        is_new = not any(tag in self._seen for tag in tags)
        self._seen.update(dict.fromkeys(tags))
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        return is_new

    def _compare(self, entry: Entry, shadow: Mapping[str, Any]) -> None:
        failed = shadow["outcome"] is None
        self._counts["failures"]["failed" if failed else "scored"] += 1
        if failed or entry.score is None:
            return
        harsher = self._ranks[shadow["outcome"]] - self._ranks[entry.outcome]
        self._counts["disagreement"][_side(harsher, "milder", "same", "harsher")] += 1
        bins = self._bins[score_bin(shadow["score"])] - self._bins[score_bin(entry.score)]
        self._counts["distance"][_side(bins if abs(bins) > NEAR_BINS else 0, "lower", "near", "higher")] += 1


def _side(difference: int, below: str, none: str, above: str) -> str:
    return below if difference < 0 else above if difference > 0 else none
