"""Replay: the decision of an entry once more, from its vector and the stored artefact, compared bit for bit.

    ages               → which rung of the ladder answered, what was stale, missing and supplied
    vector + forest    → score
    score + policy     → outcome, rules, measures, confidence
    vector + explainer → the model's reasons
    all of it          → the answer, byte for byte
    vector + shadow    → the shadow's score and outcome, by its own forest and policy

Taken from the record are its id, its time and its arm, which nothing derives, and the alert, which needs the person.
How a vector was made of requests and views is not in the ledger: `scoregate features skew` compares that.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoregate.deciding import Ages, Decider, Judged, Notes
from scoregate.errors import ArtefactError
from scoregate.features import Status
from scoregate.ledger import Entry
from scoregate.models.artefact import Artefact
from scoregate.values import frozen

TAKEN: Final = ("decision_id", "decided_at", "arm")
"""Fields of every answer that are taken from the record."""
NULLS: Final = 3
"""Where the ages of a view name its nulls; entries from before do not."""


@frozen
class Difference:
    """A field that was recorded otherwise than it is derived."""

    field: str
    recorded: Any
    derived: Any


@frozen
class Replayed:
    """What became of one entry. `why_not` says why it cannot be replayed, and is empty when it was."""

    decision_id: str
    source: str
    model: str
    differences: tuple[Difference, ...] = ()
    taken: tuple[str, ...] = TAKEN
    why_not: str = ""


@dataclass(slots=True)
class Deciders:
    """The stored models of a service by digest, each read and verified once."""

    models: Path
    _found: dict[tuple[str, str], Decider | str] = field(default_factory=dict)

    def find(self, model_digest: str, policy_digest: str) -> Decider | str:
        """Return what decides by these two, or why nothing can."""
        key = (model_digest, policy_digest)
        if key not in self._found:
            self._found[key] = self._load(*key)
        return self._found[key]

    def _load(self, model_digest: str, policy_digest: str) -> Decider | str:
        folder = self.models / model_digest[:12]
        if not folder.is_dir():
            return f"the artefact {model_digest} is not stored in {self.models}"
        try:
            artefact = Artefact.load(folder)
            if artefact.digest != model_digest:
                return f"the artefact {model_digest} is not stored: {folder.name} is another one"
            if artefact.policy_digest != policy_digest:
                return f"the policy {policy_digest} is not stored: {folder.name} has another one"
            return Decider(artefact)
        except ArtefactError as problem:
            return problem.detail


def replay(entries: Iterable[Entry], deciders: Deciders) -> list[Replayed]:
    """Replay some entries, in their order; each model scores all of its own by one call."""
    some = list(entries)
    found: list[Replayed | None] = [None] * len(some)
    of_model: dict[tuple[str, str], list[int]] = {}
    for i, entry in enumerate(some):
        of_model.setdefault((entry.model_digest, entry.policy_digest), []).append(i)
    for key, places in of_model.items():
        decider = deciders.find(*key)
        replayed = _by_one(decider, [some[i] for i in places])
        for i, one in zip(places, replayed, strict=True):
            found[i] = one if one.why_not else _with_shadow(one, some[i], deciders)
    return [one for one in found if one]


def _by_one(decider: Decider | str, entries: Sequence[Entry]) -> list[Replayed]:
    if isinstance(decider, str):
        return [_not(entry, decider) for entry in entries]
    whys = [_why_not(entry, decider) for entry in entries]
    scored = [i for i, why in enumerate(whys) if not why and not decider.is_blind(json.loads(entries[i].ages))]
    scores: list[float | None] = [None] * len(entries)
    if scored:
        vectors = np.stack([vector_of(entries[i]) for i in scored])
        for i, score in zip(scored, decider.scores(vectors), strict=True):
            scores[i] = score
    return [
        _not(entry, why) if why else _compared(entry, score, decider)
        for entry, why, score in zip(entries, whys, scores, strict=True)
    ]


def _why_not(entry: Entry, decider: Decider) -> str:
    if not entry.vector:
        return "its vector was forgotten"
    if not entry.answer:
        return "its answer was forgotten"
    width = len(decider.artefact.signature.names)
    if len(entry.vector) != 8 * width:
        return f"its vector is {len(entry.vector)} bytes long, and the model has {width} features"
    try:
        json.loads(entry.ages), json.loads(entry.answer)
    except ValueError:
        return "its ages or its answer cannot be read"
    return ""


def _not(entry: Entry, why: str) -> Replayed:
    return Replayed(entry.decision_id, entry.source, entry.model_digest[:12], why_not=why)


def vector_of(entry: Entry) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the vector as it was before it was cast for the forest."""
    return np.frombuffer(entry.vector, "<f8")


def _compared(entry: Entry, score: float | None, decider: Decider) -> Replayed:
    recorded = json.loads(entry.answer)
    ages, taken = json.loads(entry.ages), [*TAKEN]
    if recorded.get("alert") is not None:
        taken.append("alert")
    if any(len(said) <= NULLS for said in ages.values()):
        ages = _with_nulls(ages, recorded["features"]["missing"])
        taken.append("nulls in features.missing")
    judged = decider.decide(vector_of(entry).tolist(), score, Notes.of(ages))
    written = decider.answer(
        judged,
        decision_id=entry.decision_id,
        alert=recorded.get("alert"),
        arm=entry.arm,
        decided_at=entry.decided_at,
    )
    differences = [*_columns(entry, judged, decider), *_fields(entry.answer, recorded, written)]
    return Replayed(entry.decision_id, entry.source, entry.model_digest[:12], tuple(differences), tuple(taken))


def _with_nulls(ages: Ages, missing: Sequence[str]) -> Ages:
    """Add the nulls that an entry does not name, as its answer named them."""
    found: dict[str, list[Any]] = {}
    for view, said in ages.items():
        nulls = [name.partition(":")[2] for name in missing if name.startswith(f"{view}:")]
        found[view] = [*[*said, None, None][:NULLS], [] if said[0] == Status.MISSING else nulls]
    return found


def _with_shadow(replayed: Replayed, entry: Entry, deciders: Deciders) -> Replayed:
    """Derive a shadow's score and outcome too; they are taken from the record where it failed, or is not stored."""
    if entry.shadow is None:
        return replayed
    said = json.loads(entry.shadow)
    decider = deciders.find(said["model"], said["policy"])
    if said["score"] is None or isinstance(decider, str):
        return replace(replayed, taken=(*replayed.taken, "shadow"))
    vector = vector_of(entry)
    (score,) = decider.scores(vector[None])
    outcome = decider.decision(vector.tolist(), score, Notes.of(json.loads(entry.ages))).outcome.name
    derived = (("shadow.score", said["score"], score), ("shadow.outcome", said["outcome"], outcome))
    differences = [Difference(*one) for one in derived if one[1] != one[2]]
    return replace(replayed, differences=(*replayed.differences, *differences))


def _columns(entry: Entry, judged: Judged, decider: Decider) -> Iterable[Difference]:
    """Compare what stands beside the answer; the score with every bit, where the answer has it rounded."""
    said = (
        ("entry.score", entry.score, judged.score),
        ("entry.outcome", entry.outcome, judged.decision.outcome.name),
        ("entry.source", entry.source, judged.source),
        ("entry.rung", entry.rung, str(judged.decision.rung)),
        ("entry.feature_digest", entry.feature_digest, decider.artefact.signature.plan.digest),
    )
    return [Difference(*one) for one in said if one[1] != one[2]]


def _fields(answer: bytes, recorded: dict[str, Any], written: bytes) -> Iterable[Difference]:
    if written == answer:
        return []
    derived = json.loads(written)
    differing = [name for name in {**derived, **recorded} if recorded.get(name) != derived.get(name)]
    if not differing:
        return [Difference("bytes of the answer", len(answer), len(written))]
    return [Difference(name, recorded.get(name), derived.get(name)) for name in differing]
