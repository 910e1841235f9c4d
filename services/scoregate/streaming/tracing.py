"""The worker's part of a trace: a span over each batch that counts traced events, linked to where they come from."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

from scoregate.events import Event
from scoregate.telemetry import names
from scoregate.telemetry.spans import SpanRecord
from scoregate.values import frozen

MOST_LINKS: Final = 128
"""As many as OpenTelemetry's own spans take."""

Put = Callable[[SpanRecord], None]


@frozen
class BatchSpans:
    """Makes the spans of one stream's batches. A batch of a thousand requests has no single parent, so it has links."""

    stream: str
    put: Put

    def batch(self, events: Iterable[Event], count: int, began_ns: int) -> None:
        """Say that a batch is counted; nothing is said of one that nobody traced."""
        traced = list(dict.fromkeys(event.trace for event in events if event.trace))
        if not traced:
            return
        self.put(
            SpanRecord(
                secrets.token_hex(16),
                secrets.token_hex(8),
                "",
                f"{names.SPAN_EVENTS} {self.stream}",
                "consumer",
                began_ns,
                time.time_ns(),
                {
                    "messaging.system": "redis",
                    "messaging.operation.name": "process",
                    "messaging.operation.type": "process",
                    "messaging.destination.name": self.stream,
                    "messaging.batch.message_count": count,
                },
                links=tuple(traced[:MOST_LINKS]),
            )
        )
