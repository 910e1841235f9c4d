"""Posted events: what each does, what it must find, and that nothing of anybody is repeated."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

import toy
from scoregate.errors import BadJson, InvalidFields, LedgerUnavailable, RequestError
from scoregate.events import Effect, Event
from scoregate.hashing import KeyedHash
from scoregate.ledger.memory import MemoryLedger
from scoregate.serving.events import EVENTS_AT_ONCE, LABELS, Intake, event_code, rows

HASHED = KeyedHash(b"k" * 32)
NOW_US = round(toy.NOW_S * 1e6)
HOUR_US = 3_600_000_000


def at(hours_ago: float) -> str:
    return datetime.fromtimestamp(toy.NOW_S - hours_ago * 3_600, UTC).isoformat()


def paid(hours_ago: float = 1, **changes: Any) -> dict[str, Any]:
    return {"type": "paid", **toy.EXAMPLE, "event_at": at(hours_ago), **changes}


def undone(hours_ago: float = 0, **changes: Any) -> dict[str, Any]:
    return {"type": "undone", "payment_id": "p1", "event_at": at(hours_ago), **changes}


def labelled(hours_ago: float = 0, *, was_bad: bool = True, **changes: Any) -> dict[str, Any]:
    return {"type": "labelled", "payment_id": "p1", "was_bad": was_bad, "event_at": at(hours_ago), **changes}


def limit(**changes: Any) -> dict[str, Any]:
    return {"type": "limit", "payer_id": "known", "limit_minor": 5_000, "since": 1_600_000_000, **changes}


class Desk:
    """An intake over a ledger in memory, and what it has sent out."""

    def __init__(self, code: Any = toy.EVENTS) -> None:
        self.ledger = MemoryLedger("toy")
        self.intake = Intake("toy", code, toy.Request, self.ledger, HASHED)

    def take(self, *events: Any) -> list[Any]:
        return asyncio.run(self.intake.take(events, toy.NOW_S))

    def sent(self, stream: str = "payments") -> list[Event]:
        outgoing = asyncio.run(self.ledger.outgoing(self.ledger.writer, stream, 0, 5_000))
        return [Event.decode(one.payload) for one in outgoing]


def statuses(results: list[Any]) -> list[str]:
    return [one.slug if isinstance(one, RequestError) else one["status"] for one in results]


def test_what_happened_counts_at_its_own_time() -> None:
    """A posted payment is a COUNT in the stream's columns, at its event time, known when it was received."""
    desk = Desk()
    desk.take(paid(2))
    row = {"payer_id": HASHED("payer", "known"), "amount_minor": 2_000}

    assert [Event("toy", "payments", Effect.COUNT, "count:p1", "p1", NOW_US - 2 * HOUR_US, NOW_US, row)] == desk.sent()


def test_a_scored_request_is_the_same_event() -> None:
    """Scored and posted under one natural key it is one event; a time that is not given is that of receipt."""
    desk = Desk()
    request = toy.Request.model_validate(toy.EXAMPLE)
    scored = desk.intake.scored(request, toy.NOW_S)
    assert scored is not None
    asyncio.run(desk.ledger.record([scored]))

    assert (NOW_US, NOW_US, "count:p1") == (scored.at_us, scored.known_us, scored.key)
    assert ["known"] == statuses(desk.take(paid()))
    assert [scored] == desk.sent()


def test_an_event_that_comes_twice_is_recorded_once() -> None:
    """Later or in one body: the same receipt, and `known` instead of `recorded`."""
    desk = Desk()
    first, again = desk.take(paid(), paid())
    (later,) = desk.take(paid())

    assert ["recorded", "known", "known"] == statuses([first, again, later])
    assert {first["event"]} == {again["event"], later["event"]}
    assert 1 == len(desk.sent())


def test_a_reversal_and_a_label_carry_what_they_are_about() -> None:
    """Time and columns are those of the COUNT, whether it was scored, posted before, or stands earlier in the body."""
    for before, body in (((paid(5),), (undone(2), labelled(1))), ((), (paid(5), undone(2), labelled(1)))):
        desk = Desk()
        desk.take(*before)
        results = desk.take(*body)
        count, reverse, label = desk.sent()

        assert {"recorded"} == set(statuses(results))
        assert (count.at_us, count.row) == (reverse.at_us, reverse.row) == (label.at_us, label.row)
        assert (Effect.REVERSE, "reverse:p1", NOW_US - 2 * HOUR_US, None) == (
            reverse.effect,
            reverse.key,
            reverse.known_us,
            reverse.is_bad,
        )
        assert (Effect.LABEL, f"label:p1:{NOW_US - HOUR_US}", True) == (label.effect, label.key, label.is_bad)


def test_what_was_recorded_first_is_what_a_label_is_about() -> None:
    """A second statement of the same payment changes nothing, not even for a label beside it."""
    desk = Desk()
    desk.take(paid(5))
    desk.take(paid(3), labelled())

    assert NOW_US - 5 * HOUR_US == desk.sent()[-1].at_us


def test_a_label_may_change_later() -> None:
    """Each time it becomes known anew is an event of its own."""
    desk = Desk()
    desk.take(paid(5), labelled(2), labelled(1, was_bad=False))

    assert [True, False] == [event.is_bad for event in desk.sent()[1:]]


@pytest.mark.parametrize("about", [undone, labelled])
def test_nothing_known_is_refused_for_that_event_alone(about: Any) -> None:
    """A reversal or label of something never seen, or seen only later in the body, names the field and no value."""
    desk = Desk()
    results = desk.take(about(payment_id="secret-7"), about(), paid())

    assert ["unknown-subject", "unknown-subject", "recorded"] == statuses(results)
    assert ["/payment_id"] == [field.pointer for field in results[0].fields]
    assert "secret-7" not in json.dumps(results[0].as_problem())


@pytest.mark.parametrize("about", [undone, labelled])
def test_nothing_becomes_known_before_it_happened(about: Any) -> None:
    """A label older than its payment would leak into training; a minute of other clocks is allowed."""
    desk = Desk()
    results = desk.take(paid(1), about(1.01), about(1.02))

    assert ["recorded", "recorded", "invalid-fields"] == statuses(results)


def test_facts_replace_facts_of_one_entity() -> None:
    """The view's join key and features, keyed by entity and time; the person only as a keyed hash."""
    desk = Desk()
    desk.take(limit(event_at=at(1)), limit())
    payer, at_us = HASHED("payer", "known"), NOW_US - HOUR_US
    row = {"payer_id": payer, "limit_minor": 5_000, "since": 1_600_000_000}
    first, second = desk.sent("facts")

    key = f"facts:payer_facts:{payer}:{at_us}"
    assert Event("toy", "facts", Effect.FACTS, key, payer, at_us, NOW_US, row, "payer_facts") == first
    assert (NOW_US, row) == (second.at_us, second.row)
    assert "known" not in json.dumps([first.key, first.subject, dict(first.row)])


@pytest.mark.parametrize("since", ["2020-09-13T12:26:40Z", "2020-09-13T14:26:40+02:00", 1_600_000_000])
def test_a_moment_is_written_either_way(since: Any) -> None:
    """Seconds since the epoch and RFC 3339 are the same moment."""
    desk = Desk()
    desk.take(limit(since=since))

    assert 1_600_000_000 == desk.sent("facts")[0].row["since"]


NO_MOMENTS = ("1600000000", "2020-09-13", "2020-09-13T12:26:40", "x-secret", "2040-01-01T00:00:00Z")


@pytest.mark.parametrize("since", [*NO_MOMENTS, 1.5, True, None, [], 10**15])
def test_what_is_no_moment_of_the_past_is_refused(since: Any) -> None:
    """Numbers in quotes, dates, local times, the future; and the value is not repeated."""
    (result,) = Desk().take(limit(since=since))

    assert ["/since"] == [field.pointer for field in result.fields]
    assert "secret" not in json.dumps(result.as_problem())


@pytest.mark.parametrize("event", [paid, undone, labelled, limit])
@pytest.mark.parametrize(
    ("when", "said"),
    [(at(-0.02), "must not be in the future"), (at(30 * 24 + 0.01), "must not be more than 30 days ago")],
)
def test_times_are_bounded(event: Any, when: str, said: str) -> None:
    """A minute ahead, thirty days back: beyond that the reason is said."""
    (result,) = Desk().take(event(event_at=when))

    assert [("/event_at", said)] == [(field.pointer, field.detail) for field in result.fields]


def test_times_within_the_bounds_are_taken() -> None:
    """A clock that is a minute ahead, and a payment that comes after weeks."""
    assert ["recorded"] * 2 == statuses(Desk().take(paid(30 * 24), paid(-0.016, payment_id="p2")))


@pytest.mark.parametrize("event", [paid, undone, labelled])
def test_a_time_is_required_of_what_happened(event: Any) -> None:
    """Without it a repeated event would be another one."""
    said = event()
    del said["event_at"]
    (result,) = Desk().take(said)

    assert ["/event_at"] == [field.pointer for field in result.fields]


def test_every_bad_field_is_named_and_no_value_repeated() -> None:
    """Wrong, missing and unknown at once, by the rules of the event's own type."""
    secret = "jane.doe-4929"
    (result,) = Desk().take({"type": "paid", "payer_id": {secret: 1}, "amount_minor": secret, "surprise": secret})
    fields = {field.pointer for field in result.fields}

    assert {"/payment_id", "/payer_id", "/amount_minor", "/surprise", "/event_at"} == fields
    assert secret not in json.dumps(result.as_problem())


@pytest.mark.parametrize("event", [{}, {"type": "secret"}, {"type": 7}, {"type": ["paid"]}, {"type": None}])
def test_a_type_that_is_none_names_those_that_are(event: Any) -> None:
    """The types are said, the wrong one is not repeated."""
    (result,) = Desk().take(event)

    assert [("/type", "must be one of paid, undone, labelled, limit")] == [
        (field.pointer, field.detail) for field in result.fields
    ]


@pytest.mark.parametrize("event", [None, 3, "x", [], True])
def test_an_event_is_an_object(event: Any) -> None:
    """Anything else is a problem of the whole."""
    (result,) = Desk().take(event)

    assert [""] == [field.pointer for field in result.fields]


def test_one_bad_event_leaves_the_others() -> None:
    """Each has a result of its own, in order, however many there are."""
    desk = Desk()
    some = [paid(payment_id=f"p{i}") for i in range(3 * EVENTS_AT_ONCE)]
    some[7] = {"type": "paid"}
    results = desk.take(*some)

    assert ["recorded"] * 7 + ["invalid-fields"] + ["recorded"] * (3 * EVENTS_AT_ONCE - 8) == statuses(results)
    assert 3 * EVENTS_AT_ONCE - 1 == len(desk.sent())


def test_without_a_ledger_nothing_is_acknowledged() -> None:
    """No receipt for what is not durable."""
    desk = Desk()
    asyncio.run(desk.ledger.close())
    with pytest.raises(LedgerUnavailable):
        desk.take(paid())


NO_STREAM = SimpleNamespace(EVENTS=(toy.Labelled, toy.Limit), EXAMPLES=())


def test_without_a_stream_a_request_is_no_event() -> None:
    """Nothing counts it."""
    assert None is Desk(NO_STREAM).intake.scored(toy.Request.model_validate(toy.EXAMPLE), toy.NOW_S)


def test_a_label_of_a_decision_that_is_not_counted_is_kept_by_itself() -> None:
    """Known to the ledger by its natural key: durable under LABELS, at the decision's event time, without columns."""
    from unit.scoregate.test_scoring import decide, scorer

    desk = Desk(NO_STREAM)
    subject, _ = scorer(toy.source(), desk.ledger)
    decide(subject)

    assert ["recorded", "unknown-subject"] == statuses(desk.take(labelled(), labelled(payment_id="p2")))
    label = Event("toy", LABELS, Effect.LABEL, f"label:p1:{NOW_US}", "p1", NOW_US, NOW_US, {}, is_bad=True)
    assert [label] == desk.sent(LABELS)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 10_000, b"\xff"])
def test_what_is_not_json_is_said_to_be(body: bytes) -> None:
    """As everywhere at the door."""
    with pytest.raises(BadJson):
        rows(body)


@pytest.mark.parametrize(
    "body", [{"events": []}, {"events": "x"}, {"events": [{}] * 1_001}, {"events": [{}], "more": 1}, {"events": None}]
)
def test_a_list_of_events_is_bounded_and_alone(body: Any) -> None:
    """Empty, too long, no array, or not the only member."""
    with pytest.raises(InvalidFields) as caught:
        rows(json.dumps(body).encode())

    assert ["/events"] == [field.pointer for field in caught.value.fields]


def test_one_event_or_several() -> None:
    """The body itself, or its list."""
    assert ([{"type": "x"}], False) == rows(b'{"type":"x"}')
    assert ([1, 2], True) == rows(b'{"events":[1,2]}')


def test_a_service_need_not_have_events() -> None:
    """A folder without events.py is a service all the same."""
    assert None is event_code("scoregate.models")
    assert None is not event_code("fraud")
