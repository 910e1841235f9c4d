"""The verdict over simulated days: seldom wrong, soon right; loadtest/verdict.py in short."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from loadtest.verdict import Days, Fault, bursty, caught, faults, healthy_day, independent, library

from scoregate.rollout import sequential
from scoregate.rollout.gates import GATES

RUNS, HOURS = 100, 2.0
FEW = 12


@pytest.fixture(scope="module", params=[independent, bursty])
def healthy(request: pytest.FixtureRequest) -> Days:
    return library(request.param(), Fault(), FEW, seed=7)


def test_a_healthy_canary_is_promoted_and_not_rolled_back(healthy: Days) -> None:
    """With a look every ten seconds: one in a hundred is rolled back at most, and nine in ten are promoted."""
    found = healthy_day(healthy, 10, RUNS, HOURS)

    assert found["rolled_back"] <= 0.01
    assert found["promoted"] >= 0.9


@pytest.mark.parametrize("fault", faults(), ids=lambda fault: fault.name)
@pytest.mark.parametrize("stream", [independent, bursty])
def test_a_fault_is_caught_within_5000_canary_requests(stream: Callable[[], Any], fault: Fault) -> None:
    """Fewer approvals, errors, slowness, shifted scores: each in nineteen runs of twenty."""

    assert caught(library(stream(), fault, FEW, seed=8), 10, RUNS)["caught"] >= 0.95


def test_looking_often_without_paying_for_it_is_seen(healthy: Days, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual test at 5 %, made for one look, rolls healthy canaries back by the dozen."""
    monkeypatch.setattr(sequential, "_mixture", lambda x, n: sequential._likelihood(x, n, x / n))
    monkeypatch.setattr("loadtest.verdict.thresholds", lambda _: (1.92, 3.0))
    strict = tuple(replace(gate, tolerated=(sequential.Line(1, 0),)) for gate in GATES)

    assert healthy_day(healthy, 10, 20, 0.5, gates=strict)["rolled_back"] > 0.5


def test_a_verdict_that_never_goes_back_is_seen() -> None:
    """Were every difference tolerated, nothing would be caught."""
    blind = tuple(replace(gate, tolerated=(sequential.Line(1, 0.99),)) for gate in GATES)

    assert 0 == caught(library(independent(), faults()[0], 5, seed=8), 10, 20, gates=blind)["caught"]
