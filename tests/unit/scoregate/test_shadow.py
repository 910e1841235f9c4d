"""A model that looks on: what it thinks is recorded, and nothing that it does reaches a caller."""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

import toy
from scoregate.deciding import Notes
from scoregate.errors import SignatureMismatch
from scoregate.features.memory import MemoryFeatures
from scoregate.hashing import KeyedHash
from scoregate.ledger import Entry
from scoregate.ledger.memory import MemoryLedger
from scoregate.models.artefact import Artefact
from scoregate.models.forest import Forest
from scoregate.scoring import Asked
from scoregate.scoring.scorer import Scorer
from scoregate.scoring.shadow import SHARE_S, Shadow
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED

OTHER = replace(toy.artefact(), digest="e" * 64, forest=Forest.from_bytes(toy.booster(), 1.0, -0.5))
VECTOR = [2000.0, 5000.0, 1.0]
NOTES = Notes([], [], [])


class Broken(Forest):
    def score(self, vector: Any) -> Any:
        raise RuntimeError("a challenger that nobody has tried")


def decided(shadow: Shadow | None, source: MemoryFeatures) -> Entry:
    ledger, metrics = MemoryLedger("toy"), Metrics("toy", "stable", CollectorRegistry())
    parts = (toy.artefact(), toy.CODE, source, ledger, KeyedHash(b"k" * 32), metrics)
    request = toy.Request.model_validate_json(toy.body())
    asked = Asked(request, None, toy.NOW_S, UNTRACED.begin(None, "", {}))
    asyncio.run(Scorer(*parts, arm="stable", clock=lambda: 1.0, shadow=shadow).decide(asked))
    (recorded,) = ledger._entries
    assert [] == asyncio.run(ledger.verify())
    return recorded.entry


def answered(entry: Entry) -> dict[str, Any]:
    return {name: value for name, value in json.loads(entry.answer).items() if name != "decision_id"}


def test_what_it_thinks_of_the_same_vector_is_in_the_ledger() -> None:
    """Model, policy, score and outcome; the answer is what it would be without."""
    alone, looked_at = decided(None, toy.source()), decided(Shadow.beside(toy.artefact(), OTHER), toy.source())
    expected = float(OTHER.forest.predict(np.array([VECTOR], dtype=np.float32))[0])
    said = json.loads(looked_at.shadow or "{}")

    assert alone.shadow is None
    assert answered(alone) == answered(looked_at)
    assert (expected, "e" * 64, OTHER.policy_digest) == (said["score"], said["model"], said["policy"])
    assert expected != looked_at.score


def test_one_that_fails_fails_nobody() -> None:
    """The answer goes out, and the ledger says that the other model could not."""
    broken = replace(OTHER, forest=Broken.from_bytes(toy.booster(), 1.0, 0.0))
    entry = decided(Shadow(broken), toy.source())
    said = json.loads(entry.shadow or "{}")

    assert answered(decided(None, toy.source())) == answered(entry)
    assert (None, None) == (said["score"], said["outcome"])


def test_where_rules_decide_it_is_not_asked() -> None:
    """There is no vector that either model could read."""
    source = toy.source()
    source.down = True

    assert decided(Shadow(OTHER), source).shadow is None


def test_what_one_score_takes_too_long_the_next_requests_go_without() -> None:
    """On average a request loses no more than the share."""
    ticks = itertools.count(0, 3 * SHARE_S)
    shadow = Shadow(OTHER, clock=lambda: next(ticks))

    assert [True, False, False, True] == [shadow.look(VECTOR, NOTES) is not None for _ in range(4)]


@pytest.mark.parametrize(
    "other",
    [
        replace(OTHER, signature=replace(OTHER.signature, features=OTHER.signature.features[::-1])),
        replace(OTHER, policy=toy.POLICY.replace('"review"', '"refer"').replace("cost.review", "cost.refer")),
    ],
)
def test_one_of_other_features_or_outcomes_cannot_look_on(other: Artefact) -> None:
    """It would read one feature for another, or say what cannot be compared."""
    with pytest.raises(SignatureMismatch):
        Shadow.beside(toy.artefact(), other)
