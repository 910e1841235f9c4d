"""The ledger's part of the evidence: outcomes, scores, reasons, fallbacks and missing features of both arms.

Accounts come back, and what a model thinks of one it thinks of it every time: a person counts once per look-back, in
whichever arm served them first in it. The rule does not look at the arm, so that it favours none; one that kept a
person once per arm would let the smaller arm see the busy ones alone.
"""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from scoregate.deciding import Notes
from scoregate.ledger import Entry, Recorded
from scoregate.local.traefik import CANARY, STABLE
from scoregate.rollout.verdict import Sample

LOOK_BACK_S: Final = 600.0
REMEMBERED: Final = 300_000
"""Persons; more than come within a look-back at 100 requests a second."""

SCORE_CUTS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9)
"""As fine where scores are small as where they are not: models of rare events hardly ever say more than a half."""

WHOLE, INCOMPLETE = "whole", "incomplete"
MODEL, FALLBACK = "model", "fallback"
OTHER_ARM, CANARY_BEFORE = "stable before", "canary before"
NO_REASON: Final = "other"


class DecisionTally:
    """Counts decisions as they come, in the order of time. `outcomes`: names, mildest first."""

    def __init__(self, outcomes: Sequence[str]) -> None:
        self._orders: Mapping[str, tuple[str, ...]] = {
            "fallbacks": (MODEL, FALLBACK),
            "missing": (WHOLE, INCOMPLETE),
            "outcomes": tuple(outcomes),
            "scores": score_bins(),
            "mixing": (OTHER_ARM, CANARY_BEFORE),
        }
        self._counts: dict[str, dict[str, Counter[str]]] = {
            gate: {STABLE: Counter(), CANARY: Counter()} for gate in (*self._orders, "reasons")
        }
        self._seen: OrderedDict[str, tuple[float, str]] = OrderedDict()
        """Tag of a person → when they last counted, which arm served them last."""

    def add(self, recorded: Iterable[Recorded]) -> None:
        for each in recorded:
            if each.entry.arm in (STABLE, CANARY):
                self._add(each.entry)

    def samples(self) -> dict[str, Sample]:
        codes = sorted({code for counter in self._counts["reasons"].values() for code in counter} - {NO_REASON})
        orders = {**self._orders, "reasons": (*codes, NO_REASON)}
        return {gate: _sample(order, self._counts[gate]) for gate, order in orders.items()}

    def _add(self, entry: Entry) -> None:
        earlier = [seen for tag in entry.personal.values() if (seen := self._seen.get(tag))]
        if earlier:
            _, arm = max(earlier)
            self._count("mixing", entry.arm, CANARY_BEFORE if arm == CANARY else OTHER_ARM)
        counts = all(entry.decided_at - at >= LOOK_BACK_S for at, _ in earlier)
        for tag in entry.personal.values():
            at = entry.decided_at if counts else self._seen.get(tag, (entry.decided_at, ""))[0]
            self._seen[tag] = (at, entry.arm)
            self._seen.move_to_end(tag)
        while len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
        if counts:
            self._judge(entry)

    def _judge(self, entry: Entry) -> None:
        arm = entry.arm
        self._count("fallbacks", arm, entry.source)
        notes = Notes.of(json.loads(entry.ages))
        self._count("missing", arm, INCOMPLETE if notes.missing or notes.stale else WHOLE)
        self._count("outcomes", arm, entry.outcome)
        if entry.score is not None:
            self._count("scores", arm, score_bin(entry.score))
        # Forgotten answers are empty.
        answer: Mapping[str, Any] = json.loads(entry.answer or b"{}")
        if reasons := answer.get("reasons"):
            self._count("reasons", arm, reasons[0]["code"])

    def _count(self, gate: str, arm: str, category: str) -> None:
        self._counts[gate][arm][category] += 1


def score_bins() -> tuple[str, ...]:
    """Return the names of the bins that `score_bin` gives, lowest first."""
    edges = (0.0, *SCORE_CUTS)
    return tuple(f"from {edge:g}" for edge in edges)


def score_bin(score: float) -> str:
    return f"from {max((cut for cut in SCORE_CUTS if cut <= score), default=0.0):g}"


def _sample(order: tuple[str, ...], counts: Mapping[str, Counter[str]]) -> Sample:
    return Sample(order, *(tuple(counts[arm][name] for name in order) for arm in (STABLE, CANARY)))
