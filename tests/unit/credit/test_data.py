"""The real applications, and that facts were known before they were asked for."""

from __future__ import annotations

import datetime as dt

import pyarrow.compute as pc
import pytest

from credit import data
from credit.contract import EXAMPLE, Request
from credit.features import FEATURES, entities
from credit.keys import keyed_facts

AT = dt.datetime(2025, 6, 15, 12, tzinfo=dt.UTC)


def test_all_applications_are_there_with_their_outcome() -> None:
    """4,454 applications, 1,254 of them bad, as the source states."""
    table = data.applications(AT, 1)

    assert 4_454 == table.num_rows
    assert 1_254 == pc.sum(table["is_bad"]).as_py()


def test_facts_are_stated_before_the_application_and_neither_is_in_the_future() -> None:
    """A point-in-time join finds facts for every application."""
    stated = data.facts(AT, 1)["applicant_facts"]
    asked = data.applications(AT, 1)
    when = dict(zip(stated["applicant_id"].to_pylist(), stated["event_timestamp"].to_pylist(), strict=True))

    for applicant, at in zip(asked["applicant_id"].to_pylist(), asked["event_at"].to_pylist(), strict=True):
        assert AT - dt.timedelta(days=data.SPREAD_DAYS) <= when[applicant] <= at <= AT


def test_what_is_not_stated_stays_null() -> None:
    """381 incomes, 47 assets and 18 debts are absent in the source, and nothing fills them."""
    stated = data.facts(AT, 1)["applicant_facts"]

    assert [381, 47, 18, 0] == [stated[name].null_count for name in ("income", "assets", "debt", "expenses")]


def test_the_data_is_a_function_of_time_and_seed() -> None:
    """Asking again gives the same; another seed other times, and the same people."""
    first, again, other = (data.facts(AT, seed)["applicant_facts"] for seed in (1, 1, 2))

    assert first.equals(again)
    assert not first["event_timestamp"].equals(other["event_timestamp"])
    assert first["income"].equals(other["income"])


@pytest.mark.parametrize("word", ["age", "marital"])
def test_protected_attributes_are_no_facts_and_no_features(word: str) -> None:
    """Age and marital status are kept for a fairness report alone."""
    names = [*data.facts(AT, 1)["applicant_facts"].column_names, *data.applications(AT, 1).column_names, *FEATURES]

    assert [] == [name for name in names if word in name.split("_")]
    assert word in "".join(data.protected().column_names)


def test_every_application_is_a_valid_request() -> None:
    """What training reads is what the door would let in."""
    table = data.applications(AT, 1)
    fields = [name for name in Request.model_fields if name in table.column_names and name != "event_at"]

    for raw in table.select(fields).to_pylist():
        Request.model_validate(raw)


def test_facts_are_keyed_as_serving_asks_for_them() -> None:
    """No applicant's id is in the facts on disk, but the hash that `entities` makes of it."""
    table = data.applications(AT, 1).slice(0, 3)
    fields = [name for name in Request.model_fields if name in table.column_names and name != "event_at"]
    asked = [entities(Request.model_validate(raw), "{} {}".format) for raw in table.select(fields).to_pylist()]

    facts = keyed_facts(data.facts(AT, 1)["applicant_facts"], "{} {}".format)

    assert "applicant_id" not in facts.column_names
    assert [one["applicant_key"] for one in asked] == facts["applicant_key"].to_pylist()[:3]


def test_the_example_is_an_applicant_whose_facts_are_complete() -> None:
    """Its answer must not hang on an absent fact."""
    stated = data.facts(AT, 1)["applicant_facts"]
    found = stated.filter(pc.equal(stated["applicant_id"], EXAMPLE["applicant_id"]))

    assert 1 == found.num_rows
    assert 0 == sum(column.null_count for column in found.columns)
