"""What credit is told of applicants and loans."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from credit.contract import EXAMPLE, ApplicantFacts, Request
from credit.events import EVENTS, EXAMPLES, Facts, Labelled, row
from credit.features import entities
from scoregate.hashing import KeyedHash

HASHED = KeyedHash(b"k" * 32)


def facts(**changes: Any) -> Facts:
    return Facts.model_validate_json(json.dumps({**EXAMPLES[0], **changes}))


def test_the_examples_are_events() -> None:
    """One of each type, in order."""
    assert [m.__name__ for m in EVENTS] == [
        type(m.model_validate_json(json.dumps(example))).__name__ for m, example in zip(EVENTS, EXAMPLES, strict=True)
    ]


def test_facts_are_stored_under_the_key_that_a_request_reads() -> None:
    """Otherwise a posted applicant would stay unknown."""
    join_key, value = facts(applicant_id=EXAMPLE["applicant_id"]).entity(HASHED)

    assert entities(Request.model_validate(EXAMPLE), HASHED) == {join_key: value}


def test_facts_are_the_views_features_and_nothing_else() -> None:
    """Whoever stated them and when is the event's; a fact that is not named is null."""
    said = Facts.model_validate_json('{"type":"facts","applicant_id":"app_1","income":150}')

    assert {**dict.fromkeys(ApplicantFacts.model_fields), "income": 150.0} == said.facts()


def test_a_label_says_default() -> None:
    """The word of the trade on the wire, `is_bad` inside."""
    assert [True, False] == [
        Labelled.model_validate_json(json.dumps({**EXAMPLES[1], "is_default": bad})).is_bad for bad in (True, False)
    ]


def test_protected_attributes_are_no_facts() -> None:
    """Age and marital status cannot come in by this door either."""
    with pytest.raises(ValidationError):
        facts(age_years=30)


def test_a_scored_request_is_kept_without_its_person() -> None:
    """What was asked for stays; who asked is a keyed hash."""
    request = Request.model_validate_json(json.dumps(EXAMPLE))
    kept = row(request, HASHED)

    assert entities(request, HASHED)["applicant_key"] == kept["applicant_key"]
    assert EXAMPLE["applicant_id"] not in kept.values()
    assert {k: v for k, v in EXAMPLE.items() if k != "applicant_id"} == {k: kept[k] for k in kept if k in EXAMPLE}
