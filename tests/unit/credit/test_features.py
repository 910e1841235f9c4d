"""The credit vector: terms against facts, and nan where a fact is absent."""

from __future__ import annotations

import json
import math
import struct
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from credit.contract import EXAMPLE, ApplicantFacts, Request
from credit.features import FEATURES, HOMES, JOBS, MOST, entities, supplied, vector
from credit.train import PROBLEM
from scoregate.features import FeatureRow, Status, ViewRow

FACTS: dict[str, Any] = {
    "home": "rent",
    "records": False,
    "job": "fixed",
    "expenses": 50.0,
    "income": 150.0,
    "assets": 2_000.0,
    "debt": 500.0,
}


def named(facts: dict[str, Any] | None = None, **terms: Any) -> dict[str, float]:
    request = Request.model_validate({**EXAMPLE, "amount_minor": 120_000, "price_minor": 160_000, **terms})
    row = FeatureRow({"applicant_facts": ViewRow({**FACTS, **(facts or {})}, Status.FRESH, 0.0)})
    return dict(zip(FEATURES, vector(request, row, 0.0), strict=True))


def test_the_loan_is_compared_with_price_income_and_assets() -> None:
    """Ratios are what their names say, with money of facts in major and of requests in minor units."""
    values = named(term_months=24)

    assert 0.75 == values["loan_to_price"]
    assert 5_000.0 == values["instalment_minor"]
    assert (0.5, 1 / 3, 8.0) == (
        values["instalment_to_disposable"],
        pytest.approx(values["instalment_to_income"]),
        values["loan_to_income"],
    )
    assert (0.25, 2_000 / 1_200) == (values["debt_to_assets"], values["assets_to_loan"])


def test_an_instalment_that_nothing_is_left_for_is_the_worst_and_not_the_best() -> None:
    """A negative rest must not turn the ratio round."""
    assert MOST == named({"expenses": 150.0})["instalment_to_disposable"]
    assert MOST == named({"expenses": 170.0})["instalment_to_disposable"]
    assert MOST == named({"assets": 0.0})["debt_to_assets"]
    assert 0.0 == named({"assets": 0.0, "debt": 0.0})["debt_to_assets"]


def test_absent_facts_are_nan_and_counted() -> None:
    """Whatever needs the fact is nan, the rest stands, and the policy can see how many are absent."""
    values = named({"income": None, "home": "ignore"})
    gone = {"income", "disposable", "loan_to_income", "instalment_to_disposable", "instalment_to_income"}
    homes = {name for name in FEATURES if name.startswith("home_is_")}

    assert gone | homes == {name for name, value in values.items() if math.isnan(value)}
    assert 2.0 == values["absent_facts"]
    assert 0.0 == named()["absent_facts"]


def test_without_the_view_only_the_terms_are_known() -> None:
    """An unreachable store leaves the request itself, and seven absent facts."""
    values = dict(zip(FEATURES, vector(Request.model_validate(EXAMPLE), FeatureRow(), 0.0), strict=True))
    terms = {"amount_minor", "price_minor", "term_months", "instalment_minor", "loan_to_price", "absent_facts"}

    assert terms == {name for name, value in values.items() if not math.isnan(value)}
    assert 7.0 == values["absent_facts"]


def test_kinds_are_one_hot() -> None:
    """Exactly one home and one job is 1; an unknown kind is none of them."""
    values, other = named(), named({"job": "astronaut"})

    assert (1.0, 1.0) == (values["home_is_rent"], values["job_is_fixed"])
    assert 1.0 == sum(values[name] for name in FEATURES if name.startswith("home_is_"))
    assert 0.0 == sum(other[name] for name in FEATURES if name.startswith("job_is_"))


def test_facts_are_read_by_the_applicant() -> None:
    """There is one entity, and the store knows it by a keyed hash."""
    hashed = "{} {}".format

    assert {"applicant_key": "applicant app_000001"} == entities(Request.model_validate(EXAMPLE), hashed)


def with_facts(facts: dict[str, Any]) -> Request:
    return Request.model_validate_json(json.dumps({**EXAMPLE, "applicant_facts": facts}))


@pytest.mark.parametrize("changes", [{}, {"home": "ignore"}, {"income": None, "job": None}, dict.fromkeys(FACTS)])
def test_supplied_facts_give_the_vector_of_stored_ones(changes: dict[str, Any]) -> None:
    """Bit for bit, with nulls and the source's word for "not stated" too."""
    facts = {**FACTS, **changes}
    request = with_facts(facts)
    stored, brought = (
        vector(request, FeatureRow({"applicant_facts": ViewRow(values, Status.FRESH, 0.0)}), 0.0)
        for values in (facts, supplied(request)["applicant_facts"])
    )

    assert struct.pack(f"<{len(FEATURES)}d", *stored) == struct.pack(f"<{len(FEATURES)}d", *brought)


def test_supplied_facts_have_every_feature_of_the_view() -> None:
    """What is not said is null, and so absent; a request without facts brings no view at all."""
    assert dict.fromkeys(FACTS) == supplied(with_facts({}))["applicant_facts"]
    assert {} == supplied(Request.model_validate(EXAMPLE))


@pytest.mark.parametrize(("field", "known"), [("home", (*HOMES, "ignore")), ("job", JOBS)])
def test_kinds_are_spelled_alike_on_the_wire_and_in_the_vector(field: str, known: tuple[str, ...]) -> None:
    """A kind that the vector does not know would read as none of them."""
    literal, _ = get_args(ApplicantFacts.model_fields[field].annotation)

    assert set(known) == set(get_args(literal))


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("income", -1),
        ("income", "150"),
        ("assets", float("nan")),
        ("debt", float("inf")),
        ("home", "castle"),
        ("records", "no"),
        ("age", 30),
    ],
)
def test_a_fact_that_is_none_is_refused(fact: str, value: object) -> None:
    """Out of range, of another type, unknown, or a protected attribute."""
    with pytest.raises(ValidationError) as caught:
        with_facts({fact: value})

    assert [("applicant_facts", fact)] == [error["loc"] for error in caught.value.errors()]


def test_constraints_name_features() -> None:
    """A constraint on a feature that does not exist would be silently without effect."""
    assert set() == set(PROBLEM.monotone) - set(FEATURES)


@pytest.mark.parametrize(
    ("fact", "better"), [("income", 300.0), ("assets", 9_000.0), ("debt", 0.0), ("expenses", 20.0)]
)
def test_a_better_fact_moves_every_constrained_feature_the_good_way(fact: str, better: float) -> None:
    """With the constraints this makes it impossible that a better fact raises the probability of default."""
    worse, improved = named(), named({fact: better})

    moved = {name: improved[name] - worse[name] for name in FEATURES if improved[name] != worse[name]}
    assert moved
    assert all(change * PROBLEM.monotone[name] < 0 for name, change in moved.items())
