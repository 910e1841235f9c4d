"""Posted events: values of a body → valid events → what each does to features, durable before it is acknowledged.

An event that changes an earlier one (a reversal, a label) carries the time and the columns of that one, so that it
reaches the same tiles whatever else was forgotten meanwhile. A label of a decision that counts in no tiles is kept
under the stream LABELS, which nothing reads but the joining of labels to decisions.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, cast, get_args

from scoregate import catalog
from scoregate.contract import CountEvent, FactsEvent, LabelEvent, PostedEvent, ScoreRequest
from scoregate.errors import FieldProblem, InvalidFields, RequestError, UnknownSubject
from scoregate.events import FACTS, LABELS, Effect, Event
from scoregate.hashing import KeyedHash
from scoregate.ledger import Ledger
from scoregate.serving import wire

MOST_EVENTS = 1_000
"""Events of one body."""

EVENTS_AT_ONCE = 50
"""Events that are parsed, or hashed, between turns of other requests."""

OLDEST = timedelta(days=30)
"""How long ago a posted event may have happened, or become known."""

Hashed = Callable[[str, str], str]


class EventCode(Protocol):
    """A service's `events.py`: what may be posted, and what a scored request is to others."""

    EVENTS: Sequence[type[PostedEvent]]
    EXAMPLES: Sequence[Mapping[str, Any]]


class StreamCode(EventCode, Protocol):
    """The same of a service whose requests are counted in tiles of a stream."""

    STREAM: str

    def row(self, request: Any, hashed: Hashed) -> dict[str, Any]:
        """Return the columns of STREAM; persons as keyed hashes alone."""
        ...


def event_code(service: str) -> EventCode | None:
    """Import a service's `events.py`, if it has one."""
    if importlib.util.find_spec(f"{service}.events") is None:
        return None
    return cast("EventCode", catalog.part(service, "events"))


class Labelled(Protocol):
    """Counts a label against the score of the same decision."""

    def __call__(self, model: str, score: float, *, is_bad: bool, delay_s: float) -> None: ...


@dataclass(slots=True)
class _Origins:
    """What is known of the subjects of one body: their COUNT, or the time of their decision."""

    counted: dict[str, Event] = field(default_factory=dict)
    decided_us: dict[str, int] = field(default_factory=dict)


class Intake:
    """Takes in the events of one service."""

    def __init__(
        self,
        service: str,
        code: EventCode,
        request_type: type[ScoreRequest],
        ledger: Ledger,
        hashed: KeyedHash,
        labelled: Labelled | None = None,
    ) -> None:
        self._labelled = labelled
        self._service, self._ledger, self._hashed = service, ledger, hashed
        self._subject = request_type.NATURAL_KEY
        self._types = by_type(code.EVENTS)
        self._stream = cast("StreamCode", code) if getattr(code, "STREAM", "") else None

    def scored(self, request: ScoreRequest, received_at: float, trace: str = "") -> Event | None:
        """Return what a request to score is to others; None where nothing is counted. `trace` leads to the request."""
        if self._stream is None:
            return None
        at = request.event_at
        received_us = round(received_at * 1e6)
        return self._count(request, received_us if at is None else _us(at), received_us, trace)

    async def take(
        self, rows: Sequence[Any], received_at: float, trace: str = ""
    ) -> list[dict[str, str] | RequestError]:
        """Record what can be accepted of decoded events; return a receipt or a problem for each, in order.

        Raises:
            LedgerUnavailable: nothing was recorded.
        """
        now = datetime.fromtimestamp(received_at, UTC)
        said: list[PostedEvent | RequestError] = []
        for row in rows:
            said.append(self._parsed(row, now))
            if len(said) % EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        origins = await self._origins(said)
        taken: list[Event | RequestError] = []
        for one in said:
            taken.append(one if isinstance(one, RequestError) else self._event(one, origins, round(received_at * 1e6)))
            if len(taken) % EVENTS_AT_ONCE == 0:
                await asyncio.sleep(0)
        events = [replace(event, trace=trace) if trace else event for event in taken if isinstance(event, Event)]
        are_new = await self._ledger.record(events) if events else []
        await self._count_labels([event for event, is_new in zip(events, are_new, strict=True) if is_new])
        new = iter(are_new)
        return [t if isinstance(t, RequestError) else self._receipt(t, is_new=next(new)) for t in taken]

    async def _count_labels(self, events: Sequence[Event]) -> None:
        """Count labels against what was said of the same thing: whether scores mean what they say."""
        if self._labelled is None:
            return
        for event in events:
            if event.effect is not Effect.LABEL or event.is_bad is None:
                continue
            decision = await self._ledger.find(event.subject)
            if decision is not None and (score := decision.entry.score) is not None:
                delay_s = event.known_us / 1e6 - decision.entry.decided_at
                self._labelled(decision.entry.model_digest[:12], score, is_bad=event.is_bad, delay_s=delay_s)

    def _parsed(self, row: Any, now: datetime) -> PostedEvent | RequestError:
        try:
            if not isinstance(row, dict):
                raise _bad("", "must be an object")
            wanted = self._types.get(name) if isinstance(name := row.get("type"), str) else None
            if wanted is None:
                raise _bad("/type", f"must be one of {', '.join(self._types)}")
            return wire.parse_row(row, wanted, now, OLDEST)
        except RequestError as problem:
            return problem

    async def _origins(self, said: Sequence[PostedEvent | RequestError]) -> _Origins:
        """Look up what reversals and labels are about."""
        found = _Origins()
        changes = [s for s in said if isinstance(s, PostedEvent) and not isinstance(s, CountEvent | FactsEvent)]
        subjects = list(dict.fromkeys(self._subject_of(change) for change in changes))
        if self._stream and subjects:
            recorded = await self._ledger.recorded([_count_key(subject) for subject in subjects])
            found.counted = {event.subject: event for event in recorded.values()}
        labelled = {self._subject_of(change) for change in changes if isinstance(change, LabelEvent)}
        for subject in labelled - found.counted.keys():
            if decision := await self._ledger.find(subject):
                found.decided_us[subject] = round(decision.entry.event_at * 1e6)
        return found

    def _event(self, said: PostedEvent, origins: _Origins, received_us: int) -> Event | RequestError:
        """Say what one event does. What an earlier one of the same body counted is an origin for the later ones."""
        if isinstance(said, FactsEvent):
            return self._facts(said, received_us)
        if isinstance(said, CountEvent):
            assert isinstance(said, ScoreRequest), "a service joins CountEvent to its Request"
            event = self._count(said, _us(said.event_at), received_us)
            origins.counted.setdefault(event.subject, event)
            return event
        return self._change(said, origins)

    def _count(self, request: ScoreRequest, at_us: int, received_us: int, trace: str = "") -> Event:
        assert self._stream is not None, "only a service with a stream counts"
        subject = str(getattr(request, self._subject))
        row = self._stream.row(request, self._hashed)
        key = _count_key(subject)
        return Event(
            *(self._service, self._stream.STREAM, Effect.COUNT, key, subject, at_us, received_us, row), trace=trace
        )

    def _facts(self, said: FactsEvent, received_us: int) -> Event:
        at_us = received_us if said.event_at is None else _us(said.event_at)
        join_key, entity = said.entity(self._hashed)
        key = f"facts:{said.VIEW}:{entity}:{at_us}"
        row = {join_key: entity, **said.facts()}
        return Event(self._service, FACTS, Effect.FACTS, key, entity, at_us, received_us, row, said.VIEW)

    def _change(self, said: PostedEvent, origins: _Origins) -> Event | RequestError:
        """Return a reversal or a label in the place of what it is about."""
        assert said.event_at is not None, "reversals and labels say when they became known"
        subject, known_us = self._subject_of(said), _us(said.event_at)
        counted = origins.counted.get(subject)
        at_us = counted.at_us if counted else origins.decided_us.get(subject)
        if at_us is None:
            return UnknownSubject(
                f"No request to score and no event of this {self._subject} is recorded here: post it first",
                fields=(FieldProblem(f"/{self._subject}", "is not known"),),
            )
        if known_us < at_us - round(wire.CLOCK_SKEW.total_seconds() * 1e6):
            return _bad("/event_at", f"must not be before what happened to this {self._subject}")
        stream, row = (counted.stream, counted.row) if counted else (LABELS, {})
        if isinstance(said, LabelEvent):
            key = f"label:{subject}:{known_us}"
            return Event(self._service, stream, Effect.LABEL, key, subject, at_us, known_us, row, is_bad=said.is_bad)
        return Event(self._service, stream, Effect.REVERSE, f"reverse:{subject}", subject, at_us, known_us, row)

    def _subject_of(self, said: PostedEvent) -> str:
        return str(getattr(said, self._subject))

    def _receipt(self, event: Event, *, is_new: bool) -> dict[str, str]:
        return {"event": self._hashed("event", event.key), "status": "recorded" if is_new else "known"}


def by_type(events: Sequence[type[PostedEvent]]) -> dict[str, type[PostedEvent]]:
    """Return the models by the value of their `type`."""
    return {get_args(event.model_fields["type"].annotation)[0]: event for event in events}


def rows(body: bytes) -> tuple[list[Any], bool]:
    """Return the events of a body, and whether they came as a list: `{"events": […]}`, at most MOST_EVENTS.

    Raises:
        BadJson: not JSON.
        InvalidFields: a list of events, but not one that can be taken.
    """
    said = wire.decoded(body)
    if not isinstance(said, dict) or "events" not in said:
        return [said], False
    events = said["events"] if set(said) == {"events"} else None
    if not isinstance(events, list) or not 1 <= len(events) <= MOST_EVENTS:
        raise _bad("/events", f"must be an array of 1 to {MOST_EVENTS} events, and the only member")
    return events, True


def _count_key(subject: str) -> str:
    return f"count:{subject}"


def _bad(pointer: str, detail: str) -> InvalidFields:
    return InvalidFields("1 field cannot be accepted; 'errors' names it", fields=(FieldProblem(pointer, detail),))


def _us(at: datetime) -> int:
    """Microseconds since the epoch, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
