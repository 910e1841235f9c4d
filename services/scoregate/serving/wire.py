"""Bytes → a valid request, or a problem that names every bad field at once and repeats no value."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json

from scoregate.errors import BadJson, FieldProblem, InvalidFields, RequestError, UnsupportedMedia

CLOCK_SKEW = timedelta(seconds=60)
"""How far ahead of ours a caller's clock may be."""

OLDEST = timedelta(hours=24)
"""How long ago an event may have happened: the features are those of now, and wrong for a time long gone."""

MOST_PROBLEMS = 50
"""Bad fields that one problem names."""

MOST_DEPTH = 32
"""Arrays and objects inside each other. A request has three, a batch of them five."""

MOST_DEADLINE_MS = 86_400_000
"""A day: what is above it was not meant as a deadline."""

Wire = TypeVar("Wire", bound=BaseModel)

_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]{0,39}$")
_VISIBLE = re.compile(r"^[\x21-\x7e]{1,255}$")


def check_media_type(content_type: str | None) -> None:
    """Accept application/json and nothing else.

    Raises:
        UnsupportedMedia: it is something else, or absent.
    """
    if (content_type or "").split(";", 1)[0].strip().lower() != "application/json":
        raise UnsupportedMedia("Send the body as 'Content-Type: application/json'")


def decoded(body: bytes) -> Any:
    """Decode a body of several, each of which is parsed by itself.

    Raises:
        BadJson: not JSON, or nested deeper than MOST_DEPTH.
    """
    try:
        value = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as problem:
        raise BadJson(_without_value(str(problem))) from None
    if _may_be_deep(body):
        _check_depth(value)
    return value


def parse(body: bytes, wanted: type[Wire], now: datetime, oldest: timedelta = OLDEST) -> Wire:
    """Parse one request or event.

    Raises:
        BadJson: not JSON, or nested deeper than MOST_DEPTH.
        InvalidFields: JSON, but not what is wanted, or of a time that is not taken.
    """
    if _may_be_deep(body):
        decoded(body)
    try:
        # As `model_validate_json`, without the way there.
        said: Wire = wanted.__pydantic_validator__.validate_json(body)  # type: ignore[assignment]
    except ValidationError as problem:
        refused = _explain(problem)
    else:
        check_times(said, now, oldest)
        return said
    # Raised here, for it must not have pydantic's error as its context: that holds what a validator raised, with its
    # frames, where the garbage collector does not look, so that a refusal that is kept in a list would stay for ever.
    raise refused


def parse_row(row: Any, wanted: type[Wire], now: datetime, oldest: timedelta = OLDEST) -> Wire:
    """Parse one row of several, already decoded, by the very rules of a single one. Raises as `parse` does."""
    return parse(json.dumps(row).encode(), wanted, now, oldest)


def parse_rows(
    rows: Sequence[Any], wanted: type[Wire], now: datetime, oldest: timedelta = OLDEST
) -> list[Wire | RequestError]:
    """Parse each row as `parse_row` would; return what it would return, or raise, in order."""
    # All valid, as mostly: then one call of the parser finds what one for each row would.
    with suppress(ValidationError, BadJson):
        return [_timely(said, now, oldest) for said in _parsed_together(rows, wanted)]
    return [_parsed_alone(row, wanted, now, oldest) for row in rows]


def _parsed_together(rows: Sequence[Any], wanted: type[Wire]) -> list[Wire]:
    body = json.dumps(rows).encode()
    if body.count(b"[") + body.count(b"{") > len(rows) + 1:
        for row in rows:
            _check_depth(row)
    return _list_of(wanted).validate_json(body)


def _parsed_alone(row: Any, wanted: type[Wire], now: datetime, oldest: timedelta) -> Wire | RequestError:
    try:
        return parse_row(row, wanted, now, oldest)
    except RequestError as problem:
        return problem


def _timely(said: Wire, now: datetime, oldest: timedelta) -> Wire | RequestError:
    try:
        check_times(said, now, oldest)
    except InvalidFields as problem:
        return problem
    return said


@lru_cache
def _list_of(wanted: type[Wire]) -> TypeAdapter[list[Wire]]:
    return TypeAdapter(list[wanted])  # type: ignore[valid-type]


def check_times(said: BaseModel, now: datetime, oldest: timedelta = OLDEST) -> None:
    """Refuse dates and times in the future, and events of long ago.

    Raises:
        InvalidFields: names every one.
    """
    fields = []
    for name, value in vars(said).items():
        if isinstance(value, datetime):
            if value > now + CLOCK_SKEW:
                fields.append(FieldProblem(f"/{name}", "must not be in the future"))
            elif name == "event_at" and value < now - oldest:
                fields.append(FieldProblem(f"/{name}", f"must not be more than {_in_words(oldest)} ago"))
        elif isinstance(value, date) and value > now.astimezone(UTC).date():
            fields.append(FieldProblem(f"/{name}", "must not be in the future"))
    if fields:
        raise InvalidFields(_count(tuple(fields)), fields=tuple(fields))


def _in_words(span: timedelta) -> str:
    return f"{span.days} days" if span.days > 2 else f"{span // timedelta(hours=1)} hours"


def _may_be_deep(body: bytes) -> bool:
    """Hardly any body has so many brackets, so hardly any need be measured. The parser itself stops at 200 levels."""
    return body.count(b"[") + body.count(b"{") > MOST_DEPTH


def _check_depth(value: Any) -> None:
    level, depth = [value], 0
    while level := [each for each in level if isinstance(each, dict | list)]:
        depth += 1
        if depth > MOST_DEPTH:
            raise BadJson(f"The body is nested more than {MOST_DEPTH} levels deep")
        level = [one for each in level for one in (each.values() if isinstance(each, dict) else each)]


def idempotency_key(raw: str | None) -> str | None:
    """Check an Idempotency-Key header.

    Raises:
        InvalidFields: it is empty, long, or holds characters that are not visible ASCII.
    """
    if raw is not None and not _VISIBLE.match(raw):
        field = FieldProblem("header:Idempotency-Key", "must be 1 to 255 visible ASCII characters")
        raise InvalidFields(_count((field,)), fields=(field,))
    return raw


def deadline_ms(raw: str | None, most_ms: int) -> int:
    """Return the deadline of a request: X-Request-Deadline-Ms, never above the service's own.

    Raises:
        InvalidFields: it is not a whole number from 1 to a day.
    """
    if raw is None:
        return most_ms
    if not (raw.isascii() and raw.isdigit() and len(raw) < 10 and 0 < int(raw) <= MOST_DEADLINE_MS):
        field = FieldProblem("header:X-Request-Deadline-Ms", "must be a whole number of milliseconds, 1 to a day")
        raise InvalidFields(_count((field,)), fields=(field,))
    return min(int(raw), most_ms)


def _explain(problem: ValidationError) -> BadJson | InvalidFields:
    errors = problem.errors(include_input=False, include_url=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return BadJson(_without_value(errors[0]["msg"]))
    fields = tuple(FieldProblem(_pointer(e["loc"]), _without_value(e["msg"])) for e in errors[:MOST_PROBLEMS])
    return InvalidFields(_count(fields, len(errors)), fields=fields)


def _count(fields: tuple[FieldProblem, ...], found: int = 1) -> str:
    count = max(found, len(fields))
    named = "each" if count == len(fields) else f"the first {len(fields)}"
    return f"{count} field{'s' if count != 1 else ''} cannot be accepted; 'errors' names {named}"


def _pointer(loc: tuple[int | str, ...]) -> str:
    """RFC 6901. A name that no schema would have may be somebody's data in the wrong place, and is not repeated."""
    return "".join(f"/{part}" if isinstance(part, int) or _NAME.match(part) else "/(a name)" for part in loc)


def _without_value(message: str) -> str:
    """Drop what pydantic quotes of the input in a few messages."""
    return re.sub(r"(, got|, input).*$", "", message)[:200]
