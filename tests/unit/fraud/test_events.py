"""What fraud is told of payments, accounts and merchants."""

from __future__ import annotations

import json
from typing import Any

from fraud.contract import EXAMPLE, Request
from fraud.events import EVENTS, EXAMPLES, Account, ChargedBack, Labelled, Merchant, Settled, row
from fraud.features import entities
from scoregate.contract import LabelEvent
from scoregate.hashing import KeyedHash

HASHED = KeyedHash(b"k" * 32)
BY_TYPE: dict[str, Any] = {example["type"]: example for example in EXAMPLES}


def test_the_examples_are_events() -> None:
    """One of each type, in order."""
    assert [m.__name__ for m in EVENTS] == [
        type(m.model_validate_json(json.dumps(example))).__name__ for m, example in zip(EVENTS, EXAMPLES, strict=True)
    ]


def test_a_payment_is_counted_by_the_keys_that_requests_read() -> None:
    """And carries its terms, so that training can rebuild the request; scored or settled makes no difference."""
    request = Request.model_validate(EXAMPLE)
    columns = row(request, HASHED)
    terms = {name: EXAMPLE[name] for name in ("amount_minor", "currency", "channel", "country", "transaction_id")}

    assert {**entities(request, HASHED), **terms} == columns
    assert columns == row(Settled.model_validate_json(json.dumps(BY_TYPE["settled"])), HASHED)


def test_account_and_device_leave_only_as_keyed_hashes() -> None:
    """Neither is in the event's columns."""
    written = json.dumps(row(Request.model_validate(EXAMPLE), HASHED))

    assert [] == [EXAMPLE[name] for name in Request.PERSONAL if EXAMPLE[name] in written]


def test_facts_are_stored_under_the_keys_that_a_request_reads() -> None:
    """Otherwise a posted account or merchant would stay unknown."""
    read = entities(Request.model_validate(EXAMPLE), HASHED)
    account = Account.model_validate_json(json.dumps(BY_TYPE["account"]))
    merchant = Merchant.model_validate_json(json.dumps(BY_TYPE["merchant"]))

    assert dict([account.entity(HASHED), merchant.entity(HASHED)]).items() <= read.items()
    assert {"opened_at": 1_620_000_000, "home_country": "DE", "segment": "private"} == account.facts()
    assert {"category": "grocery", "country": "DE", "onboarded_at": 1_546_300_800} == merchant.facts()


def test_a_charge_back_is_known_fraud() -> None:
    """It labels and does not reverse: the payment happened, and what the fraudster did stays counted."""
    said = ChargedBack.model_validate_json(json.dumps(BY_TYPE["charged_back"]))

    assert isinstance(said, LabelEvent)
    assert said.is_bad


def test_a_label_says_fraud() -> None:
    """The word of the trade on the wire, `is_bad` inside."""
    assert [True, False] == [
        Labelled.model_validate_json(json.dumps({**BY_TYPE["labelled"], "is_fraud": bad})).is_bad
        for bad in (True, False)
    ]
