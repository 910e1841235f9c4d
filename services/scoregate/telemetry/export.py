"""Sends spans over OTLP, in a thread of its own: no request waits for it, and what is lost is counted.

`OTEL_*` variables say where to and how, by the rules of OpenTelemetry's own exporters.
"""

from __future__ import annotations

import threading
import time
import typing
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from scoregate import __version__
from scoregate.errors import ScoregateError
from scoregate.telemetry.behind import stay_behind
from scoregate.telemetry.context import parse
from scoregate.telemetry.spans import SpanRecord, of_trace
from scoregate.telemetry.tracing import RequestTrace, Value
from scoregate.tracing_settings import Protocol, Queue

FAILED_PER_S: Final = 50
"""Failed traces a second that are exported though sampling left them out: an outage must not become a flood."""

CLOSING_S: Final = 2.0
"""How long a process that goes away waits for its last spans."""

QUEUE, REFUSED, LIMIT = "queue", "refused", "limit"
"""Why a span was lost: nobody took the queue's in time, the receiver did not take it, too many failures at once."""

_SCOPE = InstrumentationScope("scoregate", __version__)
_KINDS = {
    "server": SpanKind.SERVER,
    "client": SpanKind.CLIENT,
    "internal": SpanKind.INTERNAL,
    "consumer": SpanKind.CONSUMER,
}


class SpanCounts(typing.Protocol):
    """What is counted of spans; see `Metrics`."""

    def exported(self, spans: int) -> None: ...

    def lost(self, reason: str, spans: int) -> None: ...


class OtlpExport:
    """Exports what was sampled, and what failed; see `Keeper`. `make` makes the exporter, where it is needed first."""

    def __init__(
        self,
        resource: Mapping[str, Value],
        make: Callable[[], SpanExporter],
        counts: SpanCounts,
        queue: Queue,
        store: Mapping[str, Value],
    ) -> None:
        # The environment's word goes before ours.
        self._resource = Resource.create(dict(resource)).merge(OTELResourceDetector().detect())
        self._make, self._counts, self._limits, self._store = make, counts, queue, store
        self._waiting: deque[RequestTrace | SpanRecord] = deque()
        self._woken, self._closing = threading.Event(), threading.Event()
        self._second, self._failed_in_second = 0, 0
        self._thread = threading.Thread(target=self._run, name="otlp", daemon=True)
        self._thread.start()

    def take(self, trace: RequestTrace) -> None:
        if trace.sampled or (trace.failed and self._is_within_limit(trace)):
            self.put(trace)

    def put(self, what: RequestTrace | SpanRecord) -> None:
        """Queue one; a full queue takes no more until there is room."""
        if len(self._waiting) >= self._limits.most:
            self._counts.lost(QUEUE, _size(what))
            return
        self._waiting.append(what)
        if len(self._waiting) >= self._limits.at_once:
            self._woken.set()

    def close(self) -> None:
        self._closing.set()
        self._woken.set()
        self._thread.join(CLOSING_S)
        if left := list(self._waiting):
            self._counts.lost(QUEUE, sum(map(_size, left)))

    def _is_within_limit(self, trace: RequestTrace) -> bool:
        second = trace.wall_ns // 1_000_000_000
        if second != self._second:
            self._second, self._failed_in_second = second, 0
        self._failed_in_second += 1
        if self._failed_in_second > FAILED_PER_S:
            self._counts.lost(LIMIT, _size(trace))
            return False
        return True

    def _run(self) -> None:
        stay_behind()
        exporter = self._make()
        while not self._closing.is_set():
            self._woken.wait(self._limits.delay_s)
            self._woken.clear()
            while self._waiting and not self._closing.is_set():
                self._send(exporter)
        until_s = time.monotonic() + CLOSING_S
        while self._waiting and time.monotonic() < until_s:
            self._send(exporter)
        exporter.shutdown()

    def _send(self, exporter: SpanExporter) -> None:
        some: list[ReadableSpan] = []
        while self._waiting and len(some) < self._limits.at_once:
            some += map(self._readable, self._spans(self._waiting.popleft()))
        try:
            sent = exporter.export(some) is SpanExportResult.SUCCESS
        except Exception:  # whatever an exporter may come up with, the next spans must have their turn
            sent = False
        if sent:
            self._counts.exported(len(some))
        else:
            self._counts.lost(REFUSED, len(some))

    def _spans(self, what: RequestTrace | SpanRecord) -> Iterable[SpanRecord]:
        return [what] if isinstance(what, SpanRecord) else of_trace(what, self._store)

    def _readable(self, span: SpanRecord) -> ReadableSpan:
        parent = _context(span.trace_id, span.parent_id) if span.parent_id else None
        return ReadableSpan(
            span.name,
            context=_context(span.trace_id, span.span_id),
            parent=parent,
            resource=self._resource,
            attributes=span.attributes,
            links=[Link(_context(to.trace_id, to.span_id)) for to in map(parse, span.links) if to],
            kind=_KINDS[span.kind],
            status=Status(StatusCode.ERROR if span.error else StatusCode.UNSET),
            start_time=span.start_ns,
            end_time=span.end_ns,
            instrumentation_scope=_SCOPE,
        )


def exporter(protocol: Protocol) -> Callable[[], SpanExporter]:
    """Return what makes an exporter; one that is never needed is never imported.

    Raises:
        ScoregateError: there is none of this protocol here.
    """
    if protocol == "http/protobuf":
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as Http

        return Http
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as Grpc
    except ImportError:
        raise ScoregateError("OTLP over gRPC needs what scoregate's extra `grpc` installs") from None
    return Grpc


def _size(what: RequestTrace | SpanRecord) -> int:
    return 1 if isinstance(what, SpanRecord) else 1 + len(what.stages)


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
