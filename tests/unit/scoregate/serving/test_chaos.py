"""Rehearsed faults: each part breaks as it is said, is never answered mildest, and mends by itself."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from pydantic import ValidationError

import toy
from scoregate.errors import LedgerUnavailable
from scoregate.features import LATE_S
from scoregate.features.breaker import Breaker
from scoregate.hashing import KeyedHash
from scoregate.ledger.memory import MemoryLedger
from scoregate.scoring import Asked, Decided
from scoregate.scoring.scorer import Scorer
from scoregate.serving import chaos
from scoregate.settings import Settings
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED


class Broken:
    """The toy service behind switches."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "chaos.json"
        self.switches = chaos.Switches(self.file)
        self.ledger = MemoryLedger("toy")

    def decide(self, **faults: str) -> Decided:
        chaos.write(self.file, faults, time.time() + 60)
        code: Any = toy.CODE
        artefact = toy.artefact()
        scorer = Scorer(
            replace(artefact, forest=chaos.chaotic_forest(artefact.forest, self.switches)),
            code,
            Breaker(chaos.ChaoticFeatures(toy.source(at_s=time.time()), self.switches, 0.01)),
            chaos.chaotic_ledger(self.ledger, self.switches),
            KeyedHash(b"k" * 32),
            Metrics("toy", "stable", CollectorRegistry()),
            arm="stable",
            clock=self.switches.clock,
        )
        request = toy.Request.model_validate_json(toy.body())
        asked = Asked(request, None, self.switches.clock(), UNTRACED.begin(None, "", {}))
        return asyncio.run(scorer.decide(asked))


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    return Broken(tmp_path)


@pytest.mark.parametrize(
    ("faults", "rung"),
    [
        ({}, "fresh"),
        ({"store": "slow"}, "rules"),
        ({"store": "dead"}, "rules"),
        ({"store": "wrong"}, "rules"),
        ({"store": "stale"}, "partial"),
        ({"model": "absent"}, "rules"),
        ({"clock": "ahead"}, "partial"),
    ],
)
def test_a_broken_part_is_the_rung_below(broken: Broken, faults: dict[str, str], rung: str) -> None:
    """And on every rung but the first the outcome is not the mildest."""
    decided = broken.decide(**faults)

    assert (rung, rung == "fresh") == (decided.rung, decided.outcome == "approve")


def test_a_full_ledger_decides_nothing(broken: Broken) -> None:
    """There is no rung below it."""
    with pytest.raises(LedgerUnavailable):
        broken.decide(ledger="full")

    assert 0 == asyncio.run(broken.ledger.count())


def test_a_clock_is_off_by_more_than_anybody_allows(broken: Broken) -> None:
    """Ahead and behind, and right again without the switch."""
    skews = []
    for how in ("ahead", "behind", None):
        chaos.write(broken.file, {"clock": how} if how else {}, time.time() + 60)
        skews.append(round(chaos.Switches(broken.file).clock() - time.time()))

    assert [chaos.SKEW_S, -chaos.SKEW_S, 0] == skews
    assert chaos.SKEW_S > LATE_S


def test_what_is_forgotten_mends_itself(broken: Broken) -> None:
    """A switch holds until its time, and a file of nonsense breaks nothing."""
    chaos.write(broken.file, {"store": "dead"}, time.time() - 1)
    assert chaos.Switches(broken.file).of("store") is None

    broken.file.write_text("{")
    assert chaos.Switches(broken.file).of("store") is None


def test_production_is_not_broken_on_purpose() -> None:
    """The setting is refused outside of development."""
    with pytest.raises(ValidationError, match="development"):
        Settings(chaos=True, env="production")

    assert Settings(chaos=True, env="development").chaos
