"""Hooks of schemathesis: what the OpenAPI document cannot say of an acceptable request, put into generated ones.

A schema knows types, patterns and ranges. It does not know which accounts there are, that an id was used before, what
an event is about, or what time it is. Only requests meant to be accepted are touched, and only in those places.
"""

from __future__ import annotations

import itertools
import re
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import schemathesis
from schemathesis import GenerationMode

from scoregate import catalog
from scoregate.contract import CountEvent, FactsEvent
from scoregate.serving.events import by_type, event_code

KNOWN = "conformance-known"
"""Id of a request that conformance.py has scored before, for events that are about one."""

LEAST_MS = 1_000

_RUN, _COUNT = uuid.uuid4().hex[:12], itertools.count()
_TIME = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt ]")
_DATE = re.compile(r"^\d{4}-\d{2}-\d{2}$")


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Settle a request that should be accepted. Any other is left alone, or it would no longer be what it tests."""
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    asked_ms = str((case.headers or {}).get("X-Request-Deadline-Ms", ""))
    if asked_ms.isascii() and asked_ms.isdigit() and 0 < int(asked_ms) < LEAST_MS:
        # Within a millisecond nothing can be answered but 503 or 504, rightly.
        case.headers["X-Request-Deadline-Ms"] = str(LEAST_MS)
    if case.headers and case.headers.get("Idempotency-Key"):
        case.headers["Idempotency-Key"] = f"{case.headers['Idempotency-Key'][:200]}-{_fresh()}"
    if isinstance(case.body, dict) and not {"rows", "events"} & case.body.keys():
        case.body = settle(case.path.split("/")[2], case.body)


def settle(service: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return the body with times of just now, entities that are known, and an id that is as new as it must be."""
    contract, code = catalog.part(service, "contract"), event_code(service)
    kind = by_type(code.EVENTS).get(body.get("type", "")) if code else None
    said = {name: _settled(value, name) for name, value in body.items()}
    name = contract.Request.NATURAL_KEY
    if kind is None or issubclass(kind, CountEvent):
        known = {n: v for n, v in contract.EXAMPLE.items() if n.endswith("_id") and n in said}
        return said | known | {name: _fresh()}
    return said if issubclass(kind, FactsEvent) else said | {name: KNOWN}


def _settled(value: Any, called: str) -> Any:
    if isinstance(value, dict):
        return {name: _settled(each, name) for name, each in value.items()}
    if isinstance(value, float) and value.is_integer():
        # JSON Schema takes 12.0 for an integer. We do not: of an amount in cents it is most likely a mistake of unit.
        value = int(value)
    if isinstance(value, int) and called.endswith("_at"):
        return min(value, int(time.time()) - 5)
    if isinstance(value, str) and _TIME.match(value):
        return (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    if isinstance(value, str) and _DATE.match(value):
        return "1990-01-01"
    return value


def _fresh() -> str:
    return f"{_RUN}-{next(_COUNT)}"
