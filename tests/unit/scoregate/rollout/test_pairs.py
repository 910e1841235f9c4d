"""What a shadow is judged by: the same requests, seen by two models."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from scoregate.ledger import Recorded
from scoregate.rollout.gates import SHADOW_GATES
from scoregate.rollout.pairs import PairTally
from scoregate.rollout.verdict import Action, judge

from .test_decisions import OUTCOMES, decided

MODEL = "abc"
_people = itertools.count()


def pair(
    outcome: str = "approve", shadow: str | None = "approve", score: float = 0.03, moved: float = 0.03, who: str = ""
) -> Recorded:
    recorded = decided(0, "stable", who or f"person {next(_people)}", score=score, outcome=outcome)
    said = {"model": f"{MODEL}def", "outcome": shadow, "policy": "", "score": None if shadow is None else moved}
    return replace(recorded, entry=replace(recorded.entry, shadow=json.dumps(said)))


def tally(*recorded: Recorded) -> PairTally:
    made = PairTally(OUTCOMES, MODEL)
    made.add(recorded)
    return made


def judged(*recorded: Recorded) -> Action:
    return judge(tally(*recorded).samples(), SHADOW_GATES).action


def test_each_side_of_a_disagreement_is_counted() -> None:
    """Milder and harsher, lower and higher by more than a bin, and failed."""
    found = tally(
        pair(),
        pair("decline", "approve", 0.3, 0.03),
        pair("approve", "decline", 0.03, 0.3),
        pair(score=0.03, moved=0.06),
        pair(shadow=None),
    ).samples()

    assert {"failures": (4, 1), "disagreement": (2, 1, 1), "distance": (2, 1, 1)} == {
        gate: sample.canary for gate, sample in found.items()
    }
    assert (4, 0, 0) == found["disagreement"].stable


def test_a_person_and_another_models_pair_count_once_and_never() -> None:
    """Who comes back is thought of as before; what was scored by an earlier shadow says nothing of this one."""
    other = pair()
    shadow = json.dumps({**json.loads(other.entry.shadow or ""), "model": "zzz"})
    without = replace(pair(), entry=replace(pair().entry, shadow=None))
    found = tally(
        pair(who="anna"), pair(who="anna"), replace(other, entry=replace(other.entry, shadow=shadow)), without
    )

    assert (1, 0, 0) == found.samples()["disagreement"].canary


@pytest.mark.parametrize(
    ("strays", "expected"),
    [
        ([], Action.PROMOTE),
        ([pair(shadow="decline") for _ in range(300)], Action.ROLLBACK),
        ([pair("decline", "approve") for _ in range(300)], Action.ROLLBACK),
        ([pair(moved=0.3) for _ in range(500)], Action.ROLLBACK),
        ([pair(shadow=None) for _ in range(60)], Action.ROLLBACK),
    ],
)
def test_the_verdict_follows_the_disagreement(strays: list[Recorded], expected: Action) -> None:
    """Agreement is clear, and more than is tolerated of either side goes back."""
    assert expected is judged(*(pair() for _ in range(2_000 - len(strays))), *strays)


def test_a_few_pairs_prove_nothing() -> None:
    """However far apart they are."""
    assert Action.HOLD is judged(*(pair(shadow="decline") for _ in range(2)))
    assert Action.HOLD is judged(*(pair() for _ in range(20)))
