"""From what was read to what is answered: score, outcome, reasons, the answer's bytes; pure.

Serving, batches, replay and backtest all decide here, so that none of them can decide otherwise than the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from pydantic_core import to_json

from scoregate.features import SUPPLIED, FeatureRow, Status, ViewRow
from scoregate.models.artefact import Artefact
from scoregate.models.ranges import Ranges
from scoregate.models.reasons import Explainer
from scoregate.policy import Decision, Policy
from scoregate.values import frozen

# Made once: `json.dumps` with separators makes an encoder for each call, which costs as much as what it writes.
# Not `to_json`, four times as fast: it writes small numbers in another way, and an answer is derived again to the byte.
_encode_answer = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode

_STALE, _MISSING = str(Status.STALE), str(Status.MISSING)

Ages = Mapping[str, Sequence[Any]]
"""View → [status, age in seconds or null, version or null, names of its nulls], in order of view.

Entries from before the last two were noted are shorter.
"""


def ages_of(row: FeatureRow) -> Ages:
    """Return what of a row a decision depends on beside its vector."""
    return {
        # A plain text: whoever writes one that is an enum's asks for its value by a descriptor of Python's.
        view: (str(found.status), found.age_s, found.version, _nulls(found))
        for view, found in sorted(row.views.items())
    }


def _nulls(found: ViewRow) -> list[str]:
    if found.status == _MISSING or None not in found.values.values():
        return []
    return [feature for feature, value in found.values.items() if value is None]


def encode_ages(ages: Ages) -> str:
    return to_json(ages).decode()


@frozen
class Notes:
    """What was wrong with the features, as the answer says it; `missing` names nulls as `view:feature`.

    `outside`: features whose values lie beyond those of training; None, and not in the answer, where the policy says
    nothing of them.
    """

    stale: list[str]
    missing: list[str]
    supplied: list[str]
    outside: list[str] | None = None

    @classmethod
    def of(cls, ages: Ages) -> Notes:
        notes = cls([], [], [])
        for view, (status, _, *rest) in ages.items():
            if status == _MISSING:
                notes.missing.append(view)
                continue
            if status == _STALE:
                notes.stale.append(view)
            if rest and rest[0] == SUPPLIED:
                notes.supplied.append(view)
            if len(rest) > 1 and rest[1]:
                notes.missing.extend(f"{view}:{feature}" for feature in rest[1])
        return notes

    def as_json(self) -> dict[str, list[str]]:
        said = {"stale": self.stale, "missing": self.missing, "supplied": self.supplied}
        return said if self.outside is None else {**said, "outside": self.outside}


@frozen
class Judged:
    """A decision before anybody is told. `score` is None where no model answered; `reasons` are (code, text)."""

    score: float | None
    decision: Decision
    reasons: list[tuple[str, str]]
    notes: Notes

    @property
    def source(self) -> str:
        return "fallback" if self.score is None else "model"


class Decider:
    """Decides by one artefact, and by its policy unless another one is given.

    Raises:
        ArtefactCorrupt: the policy cannot be read, or names features that the model lacks.
    """

    def __init__(self, artefact: Artefact, policy: str | None = None) -> None:
        self.artefact = artefact
        self.policy = Policy.from_toml(artefact.policy if policy is None else policy)
        self.policy.check(artefact.signature.names)
        self._ranges = Ranges.of(self.policy, artefact.signature.features)
        self._explainer = Explainer(artefact.forest, artefact.signature, self.policy.groups)
        self._names = artefact.signature.names
        self._service = artefact.signature.service
        self._model = {
            "name": artefact.signature.feature_service,
            "version": artefact.version,
            "policy": artefact.policy_digest[:12],
        }

    def is_blind(self, ages: Ages) -> bool:
        """Whether no model can answer: nothing was read, or nothing of what the policy requires."""
        missing = {view for view, said in ages.items() if said[0] == _MISSING}
        required = self.policy.required
        return bool(missing) and (len(missing) == len(ages) or (bool(required) and required <= missing))

    def scores(self, vectors: Sequence[Sequence[float]] | np.ndarray[Any, Any]) -> list[float]:
        """Return the calibrated probability of each vector; to the last bit the same whoever else is among them."""
        if len(vectors) == 1:
            return [self.artefact.forest.score(vectors[0])]
        scores: list[float] = self.artefact.forest.predict(np.array(vectors, dtype=np.float32)).tolist()
        return scores

    def decide(self, vector: Sequence[float], score: float | None, notes: Notes) -> Judged:
        """Decide by a vector in matrix order, its score (None where no model answers), and what was wrong."""
        notes = self._noted(vector, notes)
        decision = self._weighed(vector, score, notes)
        reasons = list(decision.reasons)
        if score is not None and decision.outcome.rank > 0:
            codes = self._explainer.reasons(np.array([vector], dtype=np.float32), score)
            reasons += [(code, self.policy.texts[code]) for code in codes]
        return Judged(score, decision, reasons, notes)

    def decision(self, vector: Sequence[float], score: float | None, notes: Notes) -> Decision:
        """Return the policy's part of it, without the model's reasons."""
        return self._weighed(vector, score, self._noted(vector, notes))

    def _noted(self, vector: Sequence[float], notes: Notes) -> Notes:
        """Say which values lie outside of what this model was trained on, whatever another's notes say of them."""
        outside = self._ranges.outside(vector) if self._ranges else None
        return Notes(notes.stale, notes.missing, notes.supplied, outside)

    def _weighed(self, vector: Sequence[float], score: float | None, notes: Notes) -> Decision:
        values = dict(zip(self._names, vector, strict=True))
        return self.policy.decide(score, values, [*notes.stale, *notes.missing], notes.outside or ())

    def answer(
        self, judged: Judged, *, decision_id: str, alert: Mapping[str, Any] | None, arm: str, decided_at: float
    ) -> bytes:
        """Write the answer; the bytes that are recorded, sent, and given again. `decided_at`: seconds, epoch."""
        decision, score = judged.decision, judged.score
        answer = {
            "decision_id": decision_id,
            "service": self._service,
            "outcome": decision.outcome.name,
            "score": None if score is None else round(score, 6),
            "reasons": [{"code": code, "text": text} for code, text in judged.reasons],
            "measures": decision.measures,
            "model": self._model,
            "features": judged.notes.as_json(),
            "alert": alert,
            "source": judged.source,
            "confidence": "low" if decision.low_confidence else "full",
            "arm": arm,
            "decided_at": datetime.fromtimestamp(decided_at, UTC).isoformat(timespec="microseconds"),
        }
        return _encode_answer(answer).encode()
