"""Thresholds follow from costs, agree with the policy that serves, and moving them costs what the truth says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import scoregate
import toy
from scoregate.policy import Policy
from scoregate.training.resample import Draws
from scoregate.training.thresholds import Scored, expected_costs, lowest_scores, money, ranks, thresholds

SERVICES = Path(str(scoregate.__file__)).parent.parent
POLICIES = {path.parent.name: path.read_text() for path in sorted(SERVICES.glob("*/policy.toml"))} | {"toy": toy.POLICY}
OVERRIDE = '\n[override.review]\nabove = 0.2\nreason = "The queue is full until March"\n'
POLICY = Policy.from_toml(toy.POLICY)


def calibrated(rows: int = 20_000, seed: int = 1) -> Scored:
    """Records whose scores are the very probabilities that their labels were drawn with."""
    rng = np.random.default_rng(seed)
    score = rng.beta(0.3, 3.0, rows)
    return Scored(
        label=(rng.random(rows) < score).astype(np.int64),
        score=score,
        amount=np.round(rng.lognormal(9, 1, rows)),
        weight=np.ones(rows),
        floor=np.zeros(rows, np.int64),
        draws=Draws.of(rows, 1, resamples=60),
    )


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("override", ["", OVERRIDE])
def test_outcomes_are_those_that_serving_gives(name: str, override: str) -> None:
    """For every service's policy, in bulk and one by one, at every amount, unknown ones too, with overrides and not."""
    policy = Policy.from_toml(POLICIES[name] + (override if "review" in POLICIES[name] else ""))
    rng = np.random.default_rng(2)
    score = np.concatenate([rng.random(1_500), rng.beta(0.2, 8, 1_500), [0.0, 1.0]])
    amount = np.round(rng.lognormal(9, 2.5, len(score)))
    amount[::50] = np.nan
    expected = [policy.weigh(s, a).rank for s, a in zip(score.tolist(), amount.tolist(), strict=True)]

    assert expected == ranks(policy, score, amount).tolist()


def test_a_threshold_is_where_two_outcomes_cost_the_same() -> None:
    """At 10,000 minor approving costs as much as a review of 300 at p = 0.03, and a review as declining at 0.942."""
    expected = [0.0, 300 / 10_000, 1 - 290 / 5_000]

    assert expected == pytest.approx(lowest_scores(POLICY, np.array([10_000.0]))[0])


def test_an_outcome_that_never_pays_never_begins() -> None:
    """Nobody reviews for 300 what is worth 200: from where declining pays, it is harsher than a review too."""
    lowest = lowest_scores(POLICY, np.array([200.0]))[0]

    assert lowest[1] == lowest[2]
    assert np.isinf(
        lowest_scores(Policy.from_toml(toy.POLICY.replace("if_bad_share = 1.0", "")), np.array([0.0]))
    ).any()


def test_the_real_cost_is_the_expected_one_of_a_score_that_knew() -> None:
    """With the label in the place of the score nothing is left to expect."""
    assert [[10_000.0, 300.0, 10.0]] == expected_costs(POLICY, np.array([1.0]), np.array([10_000.0])).tolist()
    assert [[0.0, 300.0, 5_010.0]] == expected_costs(POLICY, np.array([0.0]), np.array([10_000.0])).tolist()


def test_saved_money_is_what_approving_all_costs_more() -> None:
    """Three decisions by hand, per thousand of them."""
    records = Scored(
        label=np.array([1, 0, 0]),
        score=np.array([0.5, 0.0, 0.99]),
        amount=np.array([10_000.0, 10_000.0, 10_000.0]),
        weight=np.ones(3),
        floor=np.zeros(3, np.int64),
        draws=Draws.of(3, 1, resamples=20),
    )
    found = money(POLICY, records)

    # Reviewed, approved, declined though good.
    assert (300 + 0 + 5_010) * 1_000 / 3 == pytest.approx(found["cost_minor"]["value"])
    assert 10_000 * 1_000 / 3 == pytest.approx(found["approve_all_minor"]["value"])
    assert (10_000 - 5_310) * 1_000 / 3 == pytest.approx(found["saved_minor"]["value"])


def test_rules_cost_what_they_forbid() -> None:
    """A floor that reviews everybody costs a review each, whatever the scores."""
    records = replace(calibrated(500), floor=np.ones(500, np.int64), score=np.zeros(500))

    assert 300_000 == pytest.approx(money(POLICY, records)["cost_minor"]["value"])


def test_unknown_amounts_are_not_counted_as_money() -> None:
    """A record whose amount nobody knows changes no mean."""
    records = calibrated(400)
    unknown = replace(records, amount=np.where(np.arange(400) < 50, np.nan, records.amount))
    rest = {name: getattr(records, name)[50:] for name in ("label", "score", "amount", "weight", "floor")}

    expected = money(POLICY, Scored(**rest, draws=Draws.of(350, 1, resamples=5)))["cost_minor"]["value"]
    assert expected == pytest.approx(money(POLICY, unknown)["cost_minor"]["value"])


def test_calibrated_scores_lose_least_where_the_costs_say() -> None:
    """The expected curve is least at factor 1, the observed one near it, and far shifts clearly cost."""
    found = thresholds(POLICY, calibrated())["outcomes"]["review"]
    by_factor = {point["factor"]: point for point in found["curve"]}

    assert 1.0 == min(by_factor, key=lambda factor: by_factor[factor]["expected_extra_minor"])
    assert 0.0 == by_factor[1.0]["extra_minor"]["value"]
    assert 0.5 <= found["optimum"]["factor"] <= 2.0
    assert by_factor[0.25]["extra_minor"]["low"] > 0
    assert by_factor[4.0]["extra_minor"]["low"] > 0
    assert by_factor[0.8]["extra_minor"] == found["shift"]["minus_20_percent"]


def test_scores_that_are_twice_too_high_are_found_out() -> None:
    """Where scores overstate, the least observed cost lies at a higher score, and the money they expect is wrong."""
    honest = calibrated()
    records = replace(honest, score=np.minimum(2 * honest.score, 1.0))
    found = thresholds(POLICY, records)["outcomes"]["review"]
    book = money(POLICY, records)

    assert found["optimum"]["factor"] >= 1.5
    assert found["optimum"]["extra_minor"]["high"] < 0
    assert not book["cost_minor"]["low"] <= book["expected_minor"]["value"] <= book["cost_minor"]["high"]


def test_a_threshold_falls_with_the_amount() -> None:
    """Bands of equal mass cover all amounts; the more is at stake, the earlier an outcome begins."""
    records = calibrated()
    found = thresholds(POLICY, records)["outcomes"]["review"]
    scores = [band["score"] for band in found["bands"]]

    assert sorted(scores, reverse=True) == scores
    assert (records.amount.min(), records.amount.max()) == (
        found["bands"][0]["from_minor"],
        found["bands"][-1]["to_minor"],
    )
    assert 300 / found["amount_minor"] == pytest.approx(found["score"])


def test_an_override_is_shown_with_its_reason_and_its_cost() -> None:
    """What a person put in the place of the costs stands beside what it costs more than they would."""
    records = calibrated()
    (found,) = thresholds(Policy.from_toml(toy.POLICY + OVERRIDE), records)["overrides"]

    assert ("review", 0.2, "The queue is full until March") == (found["outcome"], found["above"], found["reason"])
    assert found["moved"] > 0
    assert found["extra_minor"]["low"] > 0
    assert [] == thresholds(POLICY, records)["overrides"]
