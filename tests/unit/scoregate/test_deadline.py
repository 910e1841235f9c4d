"""A decision inside its deadline: by a lower rung if need be, and never recorded for nobody."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

import toy
from scoregate.deadline import Deadline
from scoregate.errors import DeadlineExceeded
from scoregate.events import Event
from scoregate.features import FeatureRow
from scoregate.features.memory import MemoryFeatures
from scoregate.hashing import KeyedHash
from scoregate.ledger import Appended, Entry
from scoregate.ledger.memory import MemoryLedger
from scoregate.scoring import Asked, Decided
from scoregate.scoring.scorer import Scorer
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED


class Never(MemoryFeatures):
    """A store that does not answer, and has no timeout of its own."""

    async def read(self, entities: Any, now_s: float) -> FeatureRow:
        await asyncio.Event().wait()
        raise AssertionError


class LateLedger(MemoryLedger):
    """Writes, and says so after `late_s`."""

    late_s = 0.0

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        appended = await super().append(entry, event)
        await asyncio.sleep(self.late_s)
        return appended


def decide(source: MemoryFeatures, ledger: MemoryLedger, ms: int) -> Decided:
    metrics = Metrics("toy", "stable", CollectorRegistry())
    code: Any = toy.CODE
    scorer = Scorer(toy.artefact(), code, source, ledger, KeyedHash(b"k" * 32), metrics, arm="stable")
    request = toy.Request.model_validate_json(toy.body())
    trace = UNTRACED.begin(None, "", {})
    # From now on alone: the toy's forest may have to be grown first.
    return asyncio.run(scorer.decide(Asked(request, None, toy.NOW_S, trace, deadline=Deadline.after(ms))))


def test_a_store_that_does_not_answer_takes_a_share_alone() -> None:
    """The rest of the deadline is for the next rung: rules, not the mildest outcome."""
    ledger = MemoryLedger("toy")
    decided = decide(Never(toy.PLAN), ledger, ms=5_000)

    assert ("rules", "review") == (decided.rung, decided.outcome)
    assert 1 == asyncio.run(ledger.count())


def test_what_nobody_waits_for_is_not_recorded() -> None:
    """The deadline passed before the ledger was asked: 504, and the ledger holds nothing."""
    ledger = MemoryLedger("toy")
    with pytest.raises(DeadlineExceeded, match="none recorded"):
        decide(toy.source(), ledger, ms=0)

    assert 0 == asyncio.run(ledger.count())


def test_a_late_ledger_ends_in_504_and_the_same_answer_later() -> None:
    """The caller is told that it may be recorded; the same request again gets what was recorded."""
    ledger = LateLedger("toy")
    ledger.late_s = 60
    with pytest.raises(DeadlineExceeded, match="may have been recorded"):
        decide(toy.source(), ledger, ms=2_000)
    ledger.late_s = 0
    again = decide(toy.source(), ledger, ms=60_000)

    assert again.replayed
    assert 1 == asyncio.run(ledger.count())
    assert again.decision_id == json.loads(again.answer)["decision_id"]
