"""Parsing: every bad field at once, and nothing of anybody's repeated."""

from __future__ import annotations

import gc
import json
import weakref
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

import toy
from scoregate.contract import EARLIEST_S, LATEST_S, Moment
from scoregate.errors import BadJson, InvalidFields, RequestError, UnsupportedMedia
from scoregate.serving import wire

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def problems(body: bytes) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        wire.parse(body, toy.Request, NOW)
    return {field.pointer: field.detail for field in caught.value.fields}


def test_names_every_bad_field_at_once() -> None:
    """Wrong type, out of range, missing and unknown are all in one problem."""
    body = json.dumps({"payer_id": 7, "amount_minor": -5, "surprise": 1}).encode()

    assert {"/payment_id", "/payer_id", "/amount_minor", "/surprise"} == problems(body).keys()


def test_repeats_no_value() -> None:
    """A secret in any field, of any type, is not in the problem."""
    secret = "jane.doe-4929"
    for field in ("payment_id", "payer_id", "amount_minor", "event_at"):
        with pytest.raises(InvalidFields) as caught:
            wire.parse(toy.body(**{field: {secret: [secret]}}), toy.Request, NOW)

        assert secret not in json.dumps(caught.value.as_problem())


def test_a_refusal_that_was_kept_leaves_nothing_behind() -> None:
    """A refused row among others is freed with its list, though a validator of the contract's own refused it."""
    gone = weakref.WeakSet[RequestError]()

    class Timed(BaseModel):
        event_at: Moment

    def refuse() -> None:
        rows = wire.parse_rows([{"event_at": "yesterday"}], Timed, NOW)
        gone.update(row for row in rows if isinstance(row, RequestError))
        assert len(gone) == 1

    refuse()
    gc.collect()

    assert len(gone) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"a":1}}', b"[" * 10_000])
def test_what_is_not_json_is_said_to_be(body: bytes) -> None:
    """Empty, cut, wrongly encoded or endless bodies are malformed, not a crash."""
    with pytest.raises(BadJson):
        wire.parse(body, toy.Request, NOW)


@pytest.mark.parametrize("body", [b"null", b"[]", b"3", b'"x"'])
def test_json_that_is_no_object_is_a_bad_body(body: bytes) -> None:
    """Valid JSON of another shape is a field problem of the whole body."""

    assert [""] == list(problems(body))


def test_the_future_is_refused_beyond_the_skew() -> None:
    """A caller's clock may be a minute ahead, no more."""
    allowed = NOW + wire.CLOCK_SKEW
    wire.parse(toy.body(event_at=allowed.isoformat()), toy.Request, NOW)

    late = allowed + timedelta(seconds=1)

    assert {"/event_at": "must not be in the future"} == problems(toy.body(event_at=late.isoformat()))


def test_a_time_without_a_zone_is_refused() -> None:
    """A local time would be counted into the wrong tile."""

    assert ["/event_at"] == list(problems(toy.body(event_at="2026-03-01T10:00:00")))


@given(st.binary(max_size=200))
def test_no_bytes_crash_the_parser(body: bytes) -> None:
    """Whatever comes in is a request or one of two problems."""
    with suppress(BadJson, InvalidFields):
        wire.parse(body, toy.Request, NOW)


@pytest.mark.parametrize("media", [None, "", "text/plain", "application/jsonp", "multipart/form-data"])
def test_only_json_is_taken(media: str | None) -> None:
    """Anything but application/json is refused by its type."""
    with pytest.raises(UnsupportedMedia):
        wire.check_media_type(media)


def test_a_charset_is_no_other_type() -> None:
    """Parameters of the media type do not matter."""
    wire.check_media_type("Application/JSON; charset=utf-8")


@pytest.mark.parametrize("raw", ["0", "-1", "1.5", "x", "", "9" * 30, "²"])
def test_a_deadline_is_a_whole_number(raw: str) -> None:
    """Anything else names the header."""
    with pytest.raises(InvalidFields):
        wire.deadline_ms(raw, 1000)


def test_a_deadline_is_never_above_the_limit() -> None:
    """The service's own limit holds; without a header it is the default."""

    assert (20, 1000, 1000) == (
        wire.deadline_ms("20", 1000),
        wire.deadline_ms("5000", 1000),
        wire.deadline_ms(None, 1000),
    )


def test_an_event_of_long_ago_is_refused() -> None:
    """The features are those of now: a day is the longest that a request may look back."""
    wire.parse(toy.body(event_at=(NOW - wire.OLDEST).isoformat()), toy.Request, NOW)
    old = NOW - wire.OLDEST - timedelta(seconds=1)

    assert {"/event_at": "must not be more than 24 hours ago"} == problems(toy.body(event_at=old.isoformat()))


@pytest.mark.parametrize("value", [1_700_000_000, 1.5, True])
def test_a_time_is_a_string(value: object) -> None:
    """A number would be read as seconds or milliseconds, whichever fits."""

    assert ["/event_at"] == list(problems(toy.body(event_at=value)))


def test_a_name_that_is_no_name_is_not_repeated() -> None:
    """Somebody's data in the place of a field's name stays out of the problem."""
    found = problems(toy.body(**{"Jane Doe +49 30 1234": 1, "jane@example.com": 2}))

    assert {"/(a name)"} == set(found)


def test_a_problem_names_a_bounded_number_of_fields() -> None:
    """Thousands of unknown fields are counted, and the first of them named."""
    with pytest.raises(InvalidFields) as caught:
        wire.parse(toy.body(**{f"x{i}": i for i in range(1_000)}), toy.Request, NOW)

    assert (wire.MOST_PROBLEMS, True) == (len(caught.value.fields), "1000 fields" in caught.value.detail)


def test_an_old_event_does_not_hide_another_late_date() -> None:
    """Times too old and dates in the future are named together."""

    class WithBirth(toy.Request):
        birth_date: date

    body = toy.body(event_at="2020-01-01T00:00:00Z", birth_date="2030-01-01")
    with pytest.raises(InvalidFields) as caught:
        wire.parse(body, WithBirth, NOW)

    assert {"/event_at", "/birth_date"} == {field.pointer for field in caught.value.fields}


def _nested(levels: int) -> bytes:
    return b'{"x":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"


@pytest.mark.parametrize("levels", [wire.MOST_DEPTH + 1, 150, 5_000])
def test_a_body_has_a_bounded_depth(levels: int) -> None:
    """One level more than the most is not taken, alone or in a batch, and 5,000 do no harm."""
    with pytest.raises(BadJson):
        wire.parse(_nested(levels), toy.Request, NOW)
    with pytest.raises(BadJson):
        wire.decoded(_nested(levels))


def test_depth_is_not_the_number_of_brackets() -> None:
    """Many flat rows are one level, and brackets in a text are none."""
    rows = [{"id": "[" * 40}] * 100

    assert rows == wire.decoded(json.dumps(rows).encode())
    assert {"/x": "Extra inputs are not permitted"}.items() <= problems(_nested(wire.MOST_DEPTH)).items()


@pytest.mark.parametrize("body", [b"NaN", b'{"a": -Infinity}', b'"\\ud800"', b"\xff", b"1" * 5_000, b"", b"[1,]"])
def test_what_is_not_json_is_said_to_be_not_json(body: bytes) -> None:
    """Also what Python's own parser would let through."""
    with pytest.raises(BadJson):
        wire.decoded(body)


@pytest.mark.parametrize("seconds", [EARLIEST_S - 1, LATEST_S, -(10**40), 10**40])
def test_seconds_that_no_calendar_holds_are_refused_in_our_words(seconds: int) -> None:
    """A library's message would repeat what it made of the value."""
    with pytest.raises(ValidationError, match="must be seconds since the epoch"):
        TypeAdapter(Moment).validate_json(str(seconds))


@pytest.mark.parametrize("seconds", [EARLIEST_S, 0, LATEST_S - 1])
def test_seconds_within_the_calendar_are_a_time(seconds: int) -> None:
    """The bounds that the OpenAPI document says are those that hold."""
    assert seconds == TypeAdapter(Moment).validate_json(str(seconds)).timestamp()


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"amount_minor": -5, "surprise": 1},
        {"amount_minor": float("nan")},
        {"amount_minor": True},
        {"payment_id": "\ud800"},
        {"event_at": "2026-03-01T12:05:00Z"},
        {"event_at": "2026-02-01T12:05:00Z"},
        {"payer_id": json.loads("[" * 40 + "]" * 40)},
        {"payer_id": json.loads("[" * 20 + "]" * 20)},
    ],
    ids=["none", "fields", "nan", "bool", "unicode", "future", "past", "deep", "nested"],
)
def test_rows_together_are_parsed_as_each_alone(odd: dict[str, Any]) -> None:
    """What is wrong with one row is said of that row alone, in the words that it would get alone."""
    rows = [json.loads(toy.body()), {**json.loads(toy.body()), **odd}, json.loads(toy.body(amount_minor=7))]

    def alone(row: Any) -> Any:
        try:
            return wire.parse_row(row, toy.Request, NOW)
        except RequestError as problem:
            return problem.as_problem()

    together = wire.parse_rows(rows, toy.Request, NOW)

    assert [alone(row) for row in rows] == [
        one.as_problem() if isinstance(one, RequestError) else one for one in together
    ]
