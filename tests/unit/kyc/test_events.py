"""What kyc is told of applications."""

from __future__ import annotations

import json

from kyc.contract import EXAMPLE, Request
from kyc.events import EVENTS, EXAMPLES, Applied, Labelled, row
from kyc.features import entities, party
from kyc.keys import KEYS
from scoregate.hashing import KeyedHash

HASHED = KeyedHash(b"k" * 32)


def test_the_examples_are_events() -> None:
    """One of each type, in order."""
    assert [m.__name__ for m in EVENTS] == [
        type(m.model_validate_json(json.dumps(example))).__name__ for m, example in zip(EVENTS, EXAMPLES, strict=True)
    ]


def test_an_application_is_counted_by_the_keys_that_requests_read() -> None:
    """Every key column of the stream, whether it was scored or posted."""
    request, posted = (
        Request.model_validate_json(json.dumps(EXAMPLE)),
        Applied.model_validate_json(json.dumps(EXAMPLES[0])),
    )
    columns = row(request, HASHED)

    assert set(KEYS) <= columns.keys()
    assert entities(request, HASHED).items() <= columns.items()
    assert party(request, HASHED) == columns["applicant_key"]
    assert columns == row(posted, HASHED)


def test_nothing_personal_leaves_but_as_a_keyed_hash() -> None:
    """No value of the application is in the event's columns, whole or within another."""
    written = json.dumps(row(Request.model_validate_json(json.dumps(EXAMPLE)), HASHED))
    personal = [str(EXAMPLE[name]) for name in Request.PERSONAL]

    assert [] == [value for value in personal if value in written]


def test_a_label_says_anomalous() -> None:
    """The word of the trade on the wire, `is_bad` inside."""
    assert [True, False] == [
        Labelled.model_validate_json(json.dumps({**EXAMPLES[1], "is_anomalous": bad})).is_bad for bad in (True, False)
    ]
