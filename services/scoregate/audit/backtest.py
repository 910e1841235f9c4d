"""Backtest: the vectors of the ledger decided by another model or policy, and counted beside what was decided.

The same vectors, ages and missing facts: what the service saw then. So the other model must have the same features.
Counts alone are kept, so that memory does not grow with history.

Money is the policy's own: an outcome costs, for a score p and an amount, what the formula in `scoregate.policy` says.
Expected takes p from the tested model, for both outcomes, so that one judge compares them; realised, where a label has
come, takes p as 0 or 1. An outcome that the tested policy does not know has no cost in it, and is left out of money.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from scoregate.audit.replay import vector_of
from scoregate.deciding import Decider, Judged, Notes
from scoregate.errors import SignatureMismatch
from scoregate.ledger import Entry
from scoregate.models.artefact import Artefact

BANDS_MINOR: Final = (1_000, 10_000, 100_000, 1_000_000)
"""Where bands of amounts begin, minor units."""
BANDS: Final = (*(f"below {edge:,}" for edge in BANDS_MINOR), f"from {BANDS_MINOR[-1]:,}")
NO_AMOUNT: Final = "no amount"
DAY_S: Final = 86_400.0


@dataclass(slots=True)
class Money:
    """Costs of what was decided and of what would have been, minor units, over so many decisions."""

    decisions: int = 0
    before_minor: float = 0.0
    after_minor: float = 0.0

    def add(self, before: float, after: float) -> None:
        self.decisions += 1
        self.before_minor += before
        self.after_minor += after

    def as_json(self) -> dict[str, float]:
        return {
            "decisions": self.decisions,
            "before_minor": round(self.before_minor, 2),
            "after_minor": round(self.after_minor, 2),
            "change_minor": round(self.after_minor - self.before_minor, 2),
        }


@dataclass(slots=True)
class Segment:
    """Decisions that have something in common: how many, and how many became milder or harsher."""

    decisions: int = 0
    milder: int = 0
    harsher: int = 0
    expected: Money = field(default_factory=Money)

    def as_json(self) -> dict[str, Any]:
        return {
            "decisions": self.decisions,
            "milder": self.milder,
            "harsher": self.harsher,
            "expected": self.expected.as_json(),
        }


@dataclass(slots=True)
class Backtest:
    """What another model or policy would have decided, added up page by page."""

    decider: Decider
    models: Path
    entries: int = 0
    moved: Counter[tuple[str, str]] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    reasons_before: Counter[str] = field(default_factory=Counter)
    reasons_after: Counter[str] = field(default_factory=Counter)
    reasons_changed: int = 0
    labelled: Counter[tuple[str, str, bool]] = field(default_factory=Counter)
    expected: Money = field(default_factory=Money)
    realised: Money = field(default_factory=Money)
    segments: dict[tuple[str, str], Segment] = field(default_factory=dict)
    first_s: float = math.inf
    last_s: float = -math.inf
    _names: dict[str, tuple[str, ...] | None] = field(default_factory=dict)

    @classmethod
    def of(cls, artefact: Artefact, models: Path, policy: str | None = None) -> Self:
        """Test a model, by its own policy or by this one. `models`: where those are that decided.

        Raises:
            ArtefactCorrupt: the policy cannot be read, or names features that the model lacks.
        """
        return cls(Decider(artefact, policy), models)

    def add(self, entries: Sequence[Entry], labels: Mapping[str, bool]) -> None:
        """Decide some entries again. `labels`: natural key → whether it was bad, of those that are known.

        Raises:
            SignatureMismatch: they were decided on other features than the model has.
        """
        usable = [entry for entry in entries if self._usable(entry)]
        ages = [json.loads(entry.ages) for entry in usable]
        scored = [i for i, one in enumerate(ages) if not self.decider.is_blind(one)]
        scores: list[float | None] = [None] * len(usable)
        if scored:
            vectors = np.stack([vector_of(usable[i]) for i in scored])
            for i, found in zip(scored, self.decider.scores(vectors), strict=True):
                scores[i] = found
        for entry, one, score in zip(usable, ages, scores, strict=True):
            recorded = json.loads(entry.answer)
            vector = vector_of(entry).tolist()
            # As the answer named them: entries of before do not say which facts were null.
            notes = Notes.of(one)
            notes = Notes(notes.stale, recorded["features"]["missing"], notes.supplied)
            judged = self.decider.decide(vector, score, notes)
            self._count(entry, recorded, judged, self._amount(vector), labels.get(entry.natural_key))

    def _usable(self, entry: Entry) -> bool:
        self.entries += 1
        if not entry.vector or not entry.answer:
            self.skipped["its vector or answer was forgotten"] += 1
            return False
        theirs, ours = self._names_of(entry.model_digest), self.decider.artefact.signature.names
        if theirs is None:
            self.skipped[
                f"the model {entry.model_digest[:12]} is not stored, so what its vectors hold is not known"
            ] += 1
            return False
        if theirs != ours:
            other = sorted(set(theirs) ^ set(ours)) or ["their order"]
            raise SignatureMismatch(
                f"the model {self.decider.artefact.version} cannot decide on the vectors of "
                f"{entry.model_digest[:12]}: they differ in {', '.join(other[:5])}"
            )
        return True

    def _names_of(self, digest: str) -> tuple[str, ...] | None:
        """Return the features of the model that decided, None where its artefact is gone."""
        if digest not in self._names:
            file = self.models / digest[:12] / "signature.json"
            stored = json.loads(file.read_text())["features"] if file.exists() else None
            self._names[digest] = None if stored is None else tuple(feature["name"] for feature in stored)
        return self._names[digest]

    def _amount(self, vector: Sequence[float]) -> float:
        feature = self.decider.policy.amount_feature
        return vector[self.decider.artefact.signature.names.index(feature)] if feature else 0.0

    def _count(
        self, entry: Entry, recorded: Mapping[str, Any], judged: Judged, amount: float, label: bool | None
    ) -> None:
        before, after = entry.outcome, judged.decision.outcome.name
        self.moved[before, after] += 1
        self.first_s, self.last_s = min(self.first_s, entry.decided_at), max(self.last_s, entry.decided_at)
        said = {reason["code"] for reason in recorded["reasons"]}
        says = {code for code, _ in judged.reasons}
        self.reasons_before.update(said)
        self.reasons_after.update(says)
        self.reasons_changed += said != says
        ranks = {outcome.name: outcome.rank for outcome in self.decider.policy.outcomes}
        segment = self.segments.setdefault((before, self._band(amount)), Segment())
        segment.decisions += 1
        if before in ranks:
            segment.milder += ranks[after] < ranks[before]
            segment.harsher += ranks[after] > ranks[before]
        if label is not None:
            self.labelled[before, after, label] += 1
        if before not in ranks or math.isnan(amount):
            return
        costs = self.decider.policy.costs[ranks[before]], self.decider.policy.costs[ranks[after]]
        if judged.score is not None:
            of_both = [cost.expected_minor(judged.score, amount) for cost in costs]
            self.expected.add(*of_both)
            segment.expected.add(*of_both)
        if label is not None:
            self.realised.add(*[cost.expected_minor(float(label), amount) for cost in costs])

    def _band(self, amount: float) -> str:
        if not self.decider.policy.amount_feature or math.isnan(amount):
            return NO_AMOUNT
        return BANDS[bisect_right(BANDS_MINOR, amount)]

    def _in_order(self, outcomes: Sequence[str]) -> list[tuple[str, str, Segment]]:
        """Return the segments by outcome, mildest first, and then by amount."""
        bands = (NO_AMOUNT, *BANDS)
        found = ((was, band, self.segments.get((was, band))) for was in outcomes for band in bands)
        return [(was, band, segment) for was, band, segment in found if segment]

    def found(self) -> dict[str, Any]:
        """Return all that was counted, as JSON has it."""
        decided = sum(self.moved.values())
        days = max((self.last_s - self.first_s) / DAY_S, 1.0) if decided else 1.0
        names = [*dict.fromkeys([o.name for o in self.decider.policy.outcomes] + [before for before, _ in self.moved])]
        before, after = Counter[str](), Counter[str]()
        for (was, would), count in self.moved.items():
            before[was] += count
            after[would] += count
        policy = self.decider
        return {
            "service": policy.artefact.signature.service,
            "model": policy.artefact.version,
            "entries": self.entries,
            "decided": decided,
            "moved": decided - sum(count for (was, would), count in self.moved.items() if was == would),
            "skipped": dict(self.skipped),
            "outcomes": names,
            "matrix": {was: {would: self.moved[was, would] for would in names} for was in names},
            "workload": {
                name: {
                    "before": before[name],
                    "after": after[name],
                    "change_per_day": round((after[name] - before[name]) / days, 2),
                }
                for name in names
            },
            "expected": self.expected.as_json(),
            "realised": self.realised.as_json(),
            "labelled": [
                {"before": was, "after": would, "is_bad": is_bad, "decisions": count}
                for (was, would, is_bad), count in sorted(self.labelled.items())
            ],
            "reasons": {
                "changed": self.reasons_changed,
                "by_code": {
                    code: {"before": self.reasons_before[code], "after": self.reasons_after[code]}
                    for code in sorted(self.reasons_before | self.reasons_after)
                },
            },
            "segments": [
                {"outcome": was, "amount_minor": band, **segment.as_json()}
                for was, band, segment in self._in_order(names)
            ],
        }
