"""Events keep every value on their way through bytes."""

from __future__ import annotations

import json
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoregate.events import FACTS, Effect, Event, Outgoing
from scoregate.streaming.twin import _row

COUNT = Event(
    service="fraud",
    stream="transactions",
    effect=Effect.COUNT,
    key="count:txn-1",
    subject="txn-1",
    at_us=1_700_000_000_123_456,
    known_us=1_700_000_000_654_321,
    row={"account_key": "0f" * 16, "amount_minor": 1999},
)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
rows = st.dictionaries(texts, st.none() | st.booleans() | numbers | texts, max_size=5)
events = st.builds(
    Event,
    service=texts,
    stream=texts,
    effect=st.sampled_from(Effect),
    key=texts,
    subject=texts,
    at_us=st.integers(0, 1 << 62),
    known_us=st.integers(0, 1 << 62),
    row=rows,
    view=texts,
    is_bad=st.none() | st.booleans(),
)


@given(events)
def test_an_event_comes_back_as_it_was(event: Event) -> None:
    """Reading what was written gives the same event: every text, number, absence and type."""
    read = Event.decode(event.encode())

    assert event == read
    assert repr(event) == repr(read)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"effect": Effect.LABEL, "is_bad": False}, id="a label that clears"),
        pytest.param({"effect": Effect.LABEL, "is_bad": True}, id="a label that convicts"),
        pytest.param({"effect": Effect.FACTS, "stream": FACTS, "view": "account_profile"}, id="facts"),
        pytest.param({"row": {"note": '\u00fc\u2603\U0001f600 "\\\n'}}, id="text"),
        pytest.param({"row": {"balance": -0.0, "tiny": 5e-324, "large": (1 << 63) - 1}}, id="numbers"),
        pytest.param({"row": {}}, id="nothing"),
    ],
)
def test_what_may_be_said_is_kept(changes: dict[str, Any]) -> None:
    """A false label is not an absent one, and no number is rounded."""
    event = replace(COUNT, **changes)

    assert repr(event) == repr(Event.decode(event.encode()))


def test_the_bytes_are_the_contract_of_other_readers() -> None:
    """Compact JSON under these names; what is not said is left out."""
    label = replace(COUNT, effect=Effect.LABEL, key="label:txn-1:5", row={"m": "\u00fc"}, is_bad=False)

    assert (
        b'{"service":"fraud","stream":"transactions","do":"label","key":"label:txn-1:5","subject":"txn-1",'
        b'"at_us":1700000000123456,"known_us":1700000000654321,"row":{"m":"\xc3\xbc"},"is_bad":false}'
    ) == label.encode()
    assert {"view", "is_bad"} & json.loads(COUNT.encode()).keys() == set()


def test_a_row_may_be_any_mapping() -> None:
    """A row that cannot be changed is written like any other."""
    assert COUNT.encode() == replace(COUNT, row=MappingProxyType(dict(COUNT.row))).encode()


@pytest.mark.parametrize(
    "changes",
    [{"row": {"amount": float("nan")}}, {"row": {"amount": float("-inf")}}, {"subject": "\ud800"}],
    ids=["nan", "inf", "unicode"],
)
def test_what_json_cannot_say_is_not_written(changes: dict[str, Any]) -> None:
    """A number that is none, or broken text, is refused where it is written, not where it is read."""
    with pytest.raises(ValueError):
        replace(COUNT, **changes).encode()


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"[]", id="a list"),
        pytest.param(b"null", id="null"),
        pytest.param(b"7", id="a number"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
        pytest.param(b"{}", id="no names"),
        pytest.param(COUNT.encode()[:-1], id="cut short"),
        pytest.param(COUNT.encode().replace(b'"do":"count"', b'"do":"burn"'), id="another effect"),
        pytest.param(COUNT.encode().replace(b'"key":', b'"kee":'), id="a name is missing"),
    ],
)
def test_what_is_not_an_event_is_said(raw: bytes) -> None:
    """Whatever else is read, it is one kind of error."""
    with pytest.raises(ValueError):
        Event.decode(raw)


def test_the_offline_twin_keeps_the_row_of_a_traced_event() -> None:
    """Where an event came from is no part of its row, and does not get into history."""
    traced = replace(COUNT, trace=f"00-{'a' * 32}-{'b' * 16}-01")
    source = Outgoing("transactions", "w", 1, traced.encode())

    assert traced == Event.decode(traced.encode())
    assert dict(COUNT.row) == json.loads(_row(source.payload, traced))
