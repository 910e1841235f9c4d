"""W3C trace context: who was asked by whom, in one header."""

from __future__ import annotations

import re

from scoregate.values import frozen

_TRACEPARENT = re.compile(r"^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$")


@frozen
class Parent:
    """The span that a request, or an event, comes from. Ids are lower-case hex."""

    trace_id: str
    span_id: str
    sampled: bool

    def __str__(self) -> str:
        return f"00-{self.trace_id}-{self.span_id}-{int(self.sampled):02x}"


def parse(traceparent: str | None) -> Parent | None:
    """Return None when there is no valid header."""
    found = _TRACEPARENT.match(traceparent) if traceparent else None
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return None
    return Parent(found[1], found[2], bool(int(found[3], 16) & 1))
