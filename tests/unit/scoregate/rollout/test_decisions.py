"""What the ledger says of both arms: who counts, and as what."""

from __future__ import annotations

import itertools
import json

import pytest

from scoregate.ledger import Entry, Recorded
from scoregate.rollout.decisions import LOOK_BACK_S, DecisionTally, score_bin, score_bins

OUTCOMES = ("approve", "decline")
_serial = itertools.count()


def decided(
    at: float, arm: str, *people: str, score: float | None = 0.03, outcome: str = "approve", reason: str = ""
) -> Recorded:
    answer = {"reasons": [{"code": reason, "text": ""}] if reason else []}
    entry = Entry(
        decision_id=str(next(_serial)),
        service="toy",
        natural_key="k",
        idempotency_key=None,
        request_digest="",
        outcome=outcome,
        score=score,
        source="fallback" if score is None else "model",
        rung="model",
        vector=b"",
        ages=json.dumps({"view": ["missing" if score is None else "fresh", 1.0]}),
        personal={f"field{i}": tag for i, tag in enumerate(people)},
        answer=json.dumps(answer).encode(),
        model_digest="",
        policy_digest="",
        feature_digest="",
        arm=arm,
        trace_id="",
        event_at=at,
        decided_at=at,
    )
    return Recorded(entry, "w", 1, "", "", {}, {})


def tally(*recorded: Recorded) -> DecisionTally:
    made = DecisionTally(OUTCOMES)
    made.add(recorded)
    return made


def test_a_person_counts_once_per_look_back_in_whichever_arm_came_first() -> None:
    """A burst of one account is one observation, and never one in each arm."""
    found = tally(
        decided(0, "stable", "anna"),
        decided(1, "canary", "anna"),
        decided(2, "canary", "bert"),
        decided(3, "stable", "bert"),
        decided(LOOK_BACK_S, "canary", "anna"),
    ).samples()["outcomes"]

    assert ((1, 0), (2, 0)) == (found.stable, found.canary)


def test_whoever_shares_anything_with_a_person_is_one_with_them() -> None:
    """Many accounts on one device are one observation."""
    found = tally(decided(0, "stable", "anna", "phone"), decided(1, "stable", "bert", "phone")).samples()["outcomes"]

    assert (1, 0) == found.stable


def test_everything_a_decision_says_is_counted() -> None:
    """Outcome, score, source, what was missing, and the first reason."""
    found = tally(
        decided(0, "stable", "a", score=0.03, outcome="decline", reason="new_device"),
        decided(1, "canary", "b", score=None, outcome="decline"),
    ).samples()

    assert ((0, 1), (0, 1)) == (found["outcomes"].stable, found["outcomes"].canary)
    assert ((1, 0), (0, 1)) == (found["fallbacks"].stable, found["fallbacks"].canary)
    assert ((1, 0), (0, 1)) == (found["missing"].stable, found["missing"].canary)
    assert 1 == found["scores"].stable[found["scores"].categories.index("from 0.025")]
    assert (1, 0) == (sum(found["scores"].stable), sum(found["scores"].canary))
    assert (("new_device", "other"), (1, 0)) == (found["reasons"].categories, found["reasons"].stable)


def test_it_sees_when_customers_stick_to_an_arm() -> None:
    """Of those that come back, which arm they came from."""
    found = tally(
        decided(0, "canary", "a"),
        decided(1, "canary", "a"),
        decided(2, "stable", "a"),
        decided(3, "stable", "a"),
    ).samples()["mixing"]

    assert ((1, 1), (0, 1)) == (found.stable, found.canary)


@pytest.mark.parametrize(
    ("score", "bin_"), [(0.0, "from 0"), (0.0005, "from 0.0005"), (0.4, "from 0.25"), (1.0, "from 0.9")]
)
def test_a_score_lies_in_the_bin_of_the_cut_below_it(score: float, bin_: str) -> None:
    """Bins begin at their cut."""

    assert bin_ == score_bin(score)
    assert bin_ in score_bins()
