"""What is accepted as an application, and what is refused."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from kyc import simulate
from kyc.contract import EXAMPLE, Request


def test_the_example_is_accepted() -> None:
    """The documented example is a valid request, and its birth date is read as a date."""
    assert dt.date(1989, 4, 23) == Request(**EXAMPLE).birth_date


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("application_id", "two words"),
        ("name", ""),
        ("name", "   "),
        ("name", "a\x00b"),
        ("name", "\x85a"),
        ("name", "\ufeffa"),
        ("address", "one\u2028two"),
        ("name", "a" * 121),
        ("birth_date", 600_000_000),
        ("birth_date", "600000000"),
        ("birth_date", "1989-02-31"),
        ("birth_date", "1989-04-23T00:00:00"),
        ("birth_date", True),
        ("document_number", "l898902c36"),
        ("document_number", "A" * 33),
        ("document_number", "L89 8902"),
        ("document_number", "L898902C\u0663"),
        ("document_country", "Germany"),
        ("address", ""),
        ("phone", "0151 12345678"),
        ("phone", "+0151123456"),
        ("phone", "+49\u0661\u0662\u0663\u0664\u0665\u0666\u0667"),
        ("email", "ana.example"),
        ("email", "ana@example"),
        ("email", "ana@@example.com"),
        ("email", "a" * 110 + "@example.com"),
        ("device_id", ""),
        ("ip_country", "de"),
        ("surprise", 1),
    ],
)
def test_a_bad_field_is_refused_by_its_name_and_never_echoed(field: str, value: Any) -> None:
    """Exactly the bad field is named, and the message holds nothing of a personal value."""
    with pytest.raises(ValidationError) as refused:
        Request(**{**EXAMPLE, field: value})

    assert [(field,)] == [error["loc"] for error in refused.value.errors()]
    if isinstance(value, str) and len(value) > 3:
        assert value not in str(refused.value)


def test_personal_fields_are_fields_and_leave_the_application_id_out() -> None:
    """What is hashed before it leaves exists, and the caller's own id can be looked up."""
    assert set(Request.model_fields) >= Request.PERSONAL
    assert Request.NATURAL_KEY not in Request.PERSONAL


def test_every_field_is_described() -> None:
    """The published schema explains each field."""
    assert [] == [name for name, field in Request.model_fields.items() if not field.description]


def test_what_the_generator_writes_is_accepted() -> None:
    """A generated day passes the same door as real traffic."""
    fields = [name for name in Request.model_fields if name != "event_at"]
    rows = simulate.day(dt.date(2025, 3, 1), 11).select(fields).to_pylist()

    assert len(rows) == len([Request(**row) for row in rows])
