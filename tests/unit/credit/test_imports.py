"""The policy of a model of somebody's own columns."""

from __future__ import annotations

from credit.imports import policy
from scoregate.models.tabular import Column, Tabular
from scoregate.policy import Policy

COLUMNS = (
    Column("income (EUR)", "number", "income (EUR)"),
    Column('house "kind"', "category", 'house "kind"', ("rent", "own")),
    Column("-delay", "number", "_-delay", ("never",)),
)


def test_every_column_has_a_reason_in_the_direction_that_raises_risk() -> None:
    """Less income is a reason where more may only lower the risk; of a word only that it was said."""
    found = Policy.from_toml(policy(COLUMNS, {"income (EUR)": -1}))
    found.check(Tabular(COLUMNS).FEATURES)

    assert "Low value of income (EUR)" == found.texts["c001_income_eur"]
    evidence = {code: [(e.feature, e.direction) for e in group] for code, group in found.groups.items()}
    assert {
        "c001_income_eur": [("income (EUR)", -1)],
        "c002_house_kind": [('house "kind"=rent', 1), ('house "kind"=own', 1)],
        "c003_delay": [("_-delay", 0), ("_-delay=never", 1)],
    } == evidence


def test_nothing_that_is_stored_is_required() -> None:
    """All facts come with the request, so no view can be missing; a risky loan is refused by its cost."""
    found = Policy.from_toml(policy(COLUMNS, {}))

    assert frozenset() == found.required
    assert ["approve", "decline"] == [found.decide(score, {}, []).outcome.name for score in (0.01, 0.9)]
