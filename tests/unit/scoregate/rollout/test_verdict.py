"""The verdict: what rolls back, what promotes, what neither."""

from __future__ import annotations

import json

import pytest

from scoregate.rollout.gates import GATES
from scoregate.rollout.verdict import Action, Evidence, Sample, State, judge

SHARES = {
    "errors": (0.999, 0.001),
    "latency": (0.0, 0.02, 0.35, 0.45, 0.15, 0.02, 0.01, 0.0, 0.0, 0.0),
    "fallbacks": (0.998, 0.002),
    "missing": (0.95, 0.05),
    "outcomes": (0.9, 0.06, 0.03, 0.01),
    "scores": (0.5, 0.3, 0.1, 0.07, 0.03),
    "reasons": (0.5, 0.3, 0.2),
    "mixing": (0.9, 0.1),
}


def sample(shares: tuple[float, ...], canary: tuple[float, ...], requests: int) -> Sample:
    names = tuple(f"c{i}" for i in range(len(shares)))
    stable = tuple(round(share * requests * 9) for share in shares)
    return Sample(names, stable, tuple(round(share * requests) for share in canary))


def evidence(requests: int = 4_000, **canary: tuple[float, ...]) -> Evidence:
    return {name: sample(shares, canary.get(name, shares), requests) for name, shares in SHARES.items()}


def test_a_canary_like_the_stable_arm_is_promoted() -> None:
    """Every gate is shown to be clear."""

    assert Action.PROMOTE is judge(evidence()).action


@pytest.mark.parametrize("requests", [0, 1, 20, 150])
def test_a_few_requests_are_not_enough(requests: int) -> None:
    """What is not known is held, whatever it looks like."""

    assert Action.HOLD is judge(evidence(requests)).action


@pytest.mark.parametrize(
    ("gate", "canary"),
    [
        ("errors", (0.98, 0.02)),
        ("latency", (0.0, 0.0, 0.02, 0.08, 0.45, 0.35, 0.08, 0.02, 0.0, 0.0)),
        ("fallbacks", (0.96, 0.04)),
        ("missing", (0.80, 0.20)),
        ("outcomes", (0.8, 0.16, 0.03, 0.01)),
        ("outcomes", (0.97, 0.02, 0.01, 0.0)),
        ("scores", (0.35, 0.35, 0.15, 0.1, 0.05)),
        ("reasons", (0.2, 0.6, 0.2)),
    ],
)
def test_each_gate_rolls_back_by_itself(gate: str, canary: tuple[float, ...]) -> None:
    """One gate beyond what is tolerated is enough, and is named; approving too many is no better than too few."""
    verdict = judge(evidence(**{gate: canary}))

    assert Action.ROLLBACK is verdict.action
    assert [gate] == [found.gate for found in verdict.findings if found.state is State.WORSE]
    assert gate in verdict.why


@pytest.mark.parametrize(
    ("gate", "canary"),
    [
        ("errors", (1.0, 0.0)),
        ("latency", (0.05, 0.6, 0.35, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
        ("latency", (0.0, 0.0, 0.02, 0.35, 0.45, 0.15, 0.02, 0.01, 0.0, 0.0)),
        ("missing", (0.99, 0.01)),
        ("outcomes", (0.915, 0.05, 0.025, 0.01)),
    ],
)
def test_better_or_a_little_other_is_no_reason_to_go_back(gate: str, canary: tuple[float, ...]) -> None:
    """Fewer errors, quicker, up to twice as slow, a point and a half more approvals: all within what is tolerated."""

    assert Action.ROLLBACK is not judge(evidence(100_000, **{gate: canary})).action


def test_a_gate_of_which_nothing_was_seen_holds() -> None:
    """Absent evidence is not evidence that nothing is wrong."""
    known = dict(evidence())
    del known["errors"]
    verdict = judge(known)

    assert Action.HOLD is verdict.action
    assert "errors" in verdict.why


def test_customers_that_stick_to_an_arm_make_it_incomparable() -> None:
    """Where the canary's customers are always the canary's, a difference may be theirs: hold, and say why."""
    verdict = judge(evidence(mixing=(0.2, 0.8), outcomes=(0.8, 0.16, 0.03, 0.01)))

    assert Action.HOLD is verdict.action
    assert "same traffic" in verdict.why


def test_the_evidence_is_json_per_gate() -> None:
    """Argo reads `verdict`, a person the gates; minus infinity is null."""
    said = json.loads(json.dumps(judge(evidence(20)).as_json(), allow_nan=False))

    assert "hold" == said["verdict"]
    assert [gate.name for gate in GATES] == [gate["gate"] for gate in said["gates"]]
