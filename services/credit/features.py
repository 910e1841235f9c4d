"""The credit vector: facts of the applicant, terms of the loan, and what one is against the other. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from scoregate.features import FeatureRow

from .contract import Request

HOMES: Final = ("owner", "rent", "parents", "priv", "other")
JOBS: Final = ("fixed", "freelance", "partime", "others")
"""Spelled as the source spells them."""

MOST: Final = 20.0
"""Ratios end here: an instalment that cannot be paid at all is not infinitely worse than one twenty times too high."""

FEATURES: Final = (
    "amount_minor",
    "price_minor",
    "term_months",
    "instalment_minor",
    "loan_to_price",
    "income",
    "expenses",
    "disposable",
    "assets",
    "debt",
    "has_records",
    *(f"home_is_{home}" for home in HOMES),
    *(f"job_is_{job}" for job in JOBS),
    "loan_to_income",
    "instalment_to_disposable",
    "instalment_to_income",
    "debt_to_assets",
    "assets_to_loan",
    "absent_facts",
)

FACTS_VIEW: Final = "applicant_facts"
_FACTS: Final = ("home", "records", "job", "expenses", "income", "assets", "debt")


def entities(request: Request, hashed: Callable[[str, str], str]) -> dict[str, str]:
    """Return join key → keyed hash for every view."""
    return {"applicant_key": hashed("applicant", request.applicant_id)}


def supplied(request: Request) -> dict[str, dict[str, Any]]:
    """Return the views that the request brings itself, by name."""
    return {} if request.applicant_facts is None else {FACTS_VIEW: request.applicant_facts.model_dump()}


def vector(request: Request, row: FeatureRow, at_s: float) -> list[float]:
    """Return the values of FEATURES in their order; nan where a fact is absent. Money of facts is in major units."""
    facts = {name: row.get(FACTS_VIEW, name) for name in _FACTS}
    # The source's own words for "not stated".
    home = None if facts["home"] == "ignore" else facts["home"]
    job = facts["job"]
    income, expenses = _number(facts["income"]), _number(facts["expenses"])
    assets, debt = _number(facts["assets"]), _number(facts["debt"])
    loan = request.amount_minor / 100
    instalment = loan / request.term_months
    disposable = income - expenses
    absent = sum(value is None for value in facts.values()) + (facts["home"] == "ignore")
    return [
        float(request.amount_minor),
        float(request.price_minor),
        float(request.term_months),
        request.amount_minor / request.term_months,
        request.amount_minor / request.price_minor,
        income,
        expenses,
        disposable,
        assets,
        debt,
        _number(facts["records"]),
        *_one_hot(home, HOMES),
        *_one_hot(job, JOBS),
        _ratio(loan, income),
        _ratio(instalment, disposable),
        _ratio(instalment, income),
        _ratio(debt, assets),
        _ratio(assets, loan),
        float(absent),
    ]


def _number(value: float | bool | None) -> float:
    return math.nan if value is None else float(value)


def _one_hot(value: str | None, kinds: tuple[str, ...]) -> list[float]:
    if value is None:
        return [math.nan] * len(kinds)
    return [float(value == kind) for kind in kinds]


def _ratio(part: float, whole: float) -> float:
    """Divide, in [0, MOST]; MOST where nothing is there to pay a part from, 0 without a part, nan if either is."""
    if math.isnan(part) or math.isnan(whole):
        return math.nan
    if part <= 0.0:
        return 0.0
    return min(part / whole, MOST) if whole > 0.0 else MOST
