"""What credit trains: the label, the forest, and which way each fact may move the risk."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from scoregate.settings import Settings
from scoregate.training import HeldOut, Problem

from .data import applications, protected


def load(settings: Settings) -> pa.Table:
    """Return the applications as if they came in the days before today, when the facts were already stated."""
    # By day: training twice on one day gives the same artefact.
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return applications(today, settings.seed)


def protected_attributes(settings: Settings) -> pa.Table:
    return protected()


PROBLEM = Problem(
    load=load,
    label="is_bad",
    # The source has no dates: the applications carry no order in time that a test could respect.
    split=HeldOut(share=0.25, folds=5),
    headline="roc_auc",
    protected=protected_attributes,
    parameters={"max_depth": 4, "eta": 0.05, "min_child_weight": 10, "subsample": 0.8, "colsample_bytree": 0.4},
    # Nobody may be refused for earning more, owning more or owing less.
    monotone={
        "amount_minor": 1,
        "instalment_minor": 1,
        "loan_to_price": 1,
        "income": -1,
        "expenses": 1,
        "disposable": -1,
        "assets": -1,
        "debt": 1,
        "has_records": 1,
        "loan_to_income": 1,
        "instalment_to_disposable": 1,
        "instalment_to_income": 1,
        "debt_to_assets": 1,
        "assets_to_loan": -1,
        "absent_facts": 1,
    },
)
