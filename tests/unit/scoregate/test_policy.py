"""The policy: cheapest outcome, harsher on ties, never milder for what is not known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

import toy
from scoregate.errors import ArtefactCorrupt
from scoregate.policy import Policy, Rung

POLICY = Policy.from_toml(toy.POLICY)
VALUES = {"amount_minor": 10_000.0, "limit_minor": 5_000.0, "count_1d": 1.0}


@pytest.mark.parametrize(
    ("score", "outcome"), [(0.0, "approve"), (0.02, "approve"), (0.04, "review"), (0.9, "review"), (0.99, "decline")]
)
def test_takes_the_outcome_with_the_least_expected_cost(score: float, outcome: str) -> None:
    """At 10,000 minor: approve costs p * 10,000, review 300, decline 10 + (1 - p) * 5,000."""

    assert outcome == POLICY.decide(score, VALUES, []).outcome.name


def test_a_tie_goes_to_the_harsher_outcome() -> None:
    """At p = 0.03 approving and reviewing both cost 300."""

    assert "review" == POLICY.weigh(0.03, 10_000).name


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**9))
def test_a_higher_score_is_never_milder(a: float, b: float, amount: int) -> None:
    """For one amount, outcomes are monotone in the score."""
    low, high = sorted((a, b))

    assert POLICY.weigh(low, amount) <= POLICY.weigh(high, amount)


@given(st.floats(0, 1), st.sampled_from(["payer_facts", "payer_tiles"]))
def test_low_confidence_is_never_mildest(score: float, view: str) -> None:
    """A required view that is stale or missing makes the outcome at least what the policy says."""
    decision = POLICY.decide(score, VALUES, [view])

    assert decision.low_confidence
    assert Rung.PARTIAL == decision.rung
    assert decision.outcome.name in ("review", "decline")


def test_a_view_that_is_not_required_costs_no_confidence() -> None:
    """Only views that the policy names lower the confidence."""

    assert not POLICY.decide(0.0, VALUES, ["something_else"]).low_confidence


@given(st.floats(0, 1))
def test_a_value_outside_of_training_is_never_mildest(score: float) -> None:
    """What the model knows nothing of lowers the confidence, as an absent fact does, and the reason is said."""
    decision = POLICY.decide(score, VALUES, [], ["count_1d"])

    assert (Rung.PARTIAL, True) == (decision.rung, decision.low_confidence)
    assert decision.outcome.name in ("review", "decline")
    assert "values_unusual" == decision.reasons[0][0]


@pytest.mark.parametrize("beyond", ["-0.1", "inf", "nan", '"far"'])
def test_a_margin_that_is_none_is_refused(beyond: str) -> None:
    """How far outside a value may lie is a share of a range, at least 0."""
    with pytest.raises(ArtefactCorrupt):
        Policy.from_toml(toy.POLICY.replace("[low_confidence]", f"[low_confidence]\nbeyond = {beyond}"))


def test_without_a_score_the_fallback_answers() -> None:
    """No model: the declared fallback, low confidence, and the reason said."""
    decision = POLICY.decide(None, VALUES, [])

    assert ("review", Rung.RULES, True) == (decision.outcome.name, decision.rung, decision.low_confidence)
    assert "no_model" == decision.reasons[0][0]


@pytest.mark.parametrize("score", [None, 0.0, 1.0])
def test_a_rule_only_makes_harsher(score: float | None) -> None:
    """A rule that holds is a floor, with the model or without."""
    decision = POLICY.decide(score, VALUES | {"amount_minor": 500_001.0}, [])

    assert "decline" == decision.outcome.name
    assert ("very_large", "The amount is very large") in decision.reasons


def test_a_rule_on_an_absent_value_does_not_hold() -> None:
    """nan compares with nothing; absence is what low confidence is for."""

    assert not POLICY.rules[0].holds({"amount_minor": math.nan})
    assert not POLICY.rules[0].holds({})


def test_an_unknown_amount_is_not_weighed() -> None:
    """Without what is at stake there is no expected cost: the fallback, never the mildest."""

    assert "review" == POLICY.weigh(0.0, math.nan).name


def test_expected_loss_is_probability_times_loss() -> None:
    """expected_loss_minor = p * loss_given_bad * amount."""

    assert {"expected_loss_minor": 90.0} == POLICY.decide(0.01, VALUES, []).measures


@pytest.mark.parametrize(
    "change",
    [
        ("outcomes", "outcome"),
        ('at_least = "review"', 'at_least = "nothing"'),
        ("[fallback]", "[fall"),
        ("above", "over"),
    ],
)
def test_a_broken_policy_is_an_artefact_error(change: tuple[str, str]) -> None:
    """A policy with something missing or unknown stops the service from becoming ready."""
    with pytest.raises(ArtefactCorrupt):
        Policy.from_toml(toy.POLICY.replace(*change, 1))


def test_a_policy_that_names_an_unknown_feature_is_an_artefact_error() -> None:
    """A rule or reason that can never speak is a mistake, found before serving."""
    POLICY.check(toy.FEATURES)
    with pytest.raises(ArtefactCorrupt, match="count_1d"):
        POLICY.check(("amount_minor", "limit_minor"))


def overridden(outcome: str = "review", above: float = 0.2, reason: str = "The queue is full") -> Policy:
    return Policy.from_toml(f'{toy.POLICY}\n[override.{outcome}]\nabove = {above}\nreason = "{reason}"\n')


@pytest.mark.parametrize(
    ("score", "outcome"), [(0.04, "approve"), (0.2, "approve"), (0.21, "review"), (0.9, "review"), (0.99, "decline")]
)
def test_a_person_says_where_an_outcome_begins(score: float, outcome: str) -> None:
    """Up to the score it is milder than the costs would have it, above it at least this; harsher outcomes stay."""

    assert outcome == overridden().weigh(score, 10_000).name


def test_an_override_holds_for_every_amount_and_against_no_rule() -> None:
    """It replaces what costs say of scores, not what the policy forbids."""

    assert "review" == overridden(above=0.001).weigh(0.002, 1).name
    assert "decline" == overridden().decide(0.0, VALUES | {"amount_minor": 500_001.0}, []).outcome.name
    assert "review" == overridden().weigh(0.0, math.nan).name


@given(st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**9))
def test_a_higher_score_is_never_milder_under_an_override(a: float, b: float, amount: int) -> None:
    """An override moves a border and makes no holes."""
    low, high = sorted((a, b))

    assert overridden().weigh(low, amount) <= overridden().weigh(high, amount)


@pytest.mark.parametrize(
    ("outcome", "above", "reason"),
    [("approve", 0.2, "why"), ("nothing", 0.2, "why"), ("review", 1.5, "why"), ("review", 0.2, " ")],
)
def test_an_override_without_sense_or_reason_is_an_artefact_error(outcome: str, above: float, reason: str) -> None:
    """The mildest outcome begins nowhere, a score is a score, and a person gives a reason."""
    with pytest.raises(ArtefactCorrupt):
        overridden(outcome, above, reason)


def test_overrides_that_cross_are_an_artefact_error() -> None:
    """Declining may not begin before reviewing does."""
    review = '\n[override.review]\nabove = 0.5\nreason = "a"\n'
    with pytest.raises(ArtefactCorrupt, match="higher scores"):
        Policy.from_toml(f'{toy.POLICY}{review}[override.decline]\nabove = 0.4\nreason = "b"\n')
