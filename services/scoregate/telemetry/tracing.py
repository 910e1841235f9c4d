"""Spans of one request, exported over OTLP/HTTP; a request that is not sampled costs a header parse and no span.

The provider is our own, never the global one: BentoML installs a global provider with a sample rate of 0.
"""

from __future__ import annotations

import random
import re
import secrets
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Protocol, Self

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
    set_span_in_context,
)

_TRACEPARENT = re.compile(r"^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$")

Observe = Callable[[str, float], None]


class Stage:
    """One timed stage of a request: an observation always, a child span when the request is sampled."""

    __slots__ = ("_kind", "_name", "_observe", "_parent", "_started", "_tracer", "span")

    def __init__(
        self, name: str, observe: Observe | None, tracer: Tracer | None, parent: Span | None, kind: SpanKind
    ) -> None:
        self._name, self._observe, self._tracer, self._parent, self._kind = name, observe, tracer, parent, kind
        self.span: Span | None = None

    def __enter__(self) -> Self:
        if self._tracer is not None and self._parent is not None:
            context = set_span_in_context(self._parent)
            self.span = self._tracer.start_span(self._name, context=context, kind=self._kind)
        self._started = time.perf_counter()
        return self

    def set(self, attributes: Mapping[str, str | int | float | bool]) -> None:
        if self.span is not None:
            self.span.set_attributes(attributes)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._observe is not None:
            self._observe(self._name, time.perf_counter() - self._started)
        if self.span is not None:
            if kind is not None:
                self.span.set_status(Status(StatusCode.ERROR, kind.__name__))
            self.span.end()


class RequestTrace:
    """The trace of one request. `trace_id` is there whether it is sampled or not; `span` only when it is."""

    __slots__ = ("_observe", "_tracer", "span", "trace_id")

    def __init__(self, trace_id: str, span: Span | None, tracer: Tracer | None, observe: Observe | None) -> None:
        self.trace_id, self.span, self._tracer, self._observe = trace_id, span, tracer, observe

    def stage(self, name: str, kind: SpanKind = SpanKind.INTERNAL, *, timed: bool = True) -> Stage:
        return Stage(name, self._observe if timed else None, self._tracer, self.span, kind)

    def set(self, attributes: Mapping[str, str | int | float | bool]) -> None:
        if self.span is not None:
            self.span.set_attributes(attributes)

    def end(self, status: int) -> None:
        if self.span is not None:
            self.span.set_attribute("http.response.status_code", status)
            if status >= 500:
                self.span.set_status(Status(StatusCode.ERROR))
            self.span.end()


class Tracing(Protocol):
    """Starts traces; `begin` never fails and never waits."""

    def begin(self, traceparent: str | None, name: str, attributes: Mapping[str, str]) -> RequestTrace: ...

    def close(self) -> None: ...


class NoTracing:
    """Traces nothing and still knows trace ids, so that a decision leads to the gateway's trace."""

    def __init__(self, observe: Observe | None = None) -> None:
        self._observe = observe

    def begin(self, traceparent: str | None, name: str, attributes: Mapping[str, str]) -> RequestTrace:
        parent = _parse(traceparent)
        return RequestTrace(parent[0] if parent else secrets.token_hex(16), None, None, self._observe)

    def close(self) -> None:
        pass


class OtlpTracing:
    """Traces sampled requests: the parent's decision where there is one, else a share of the new traces."""

    def __init__(
        self,
        service: str,
        arm: str,
        version: str,
        endpoint: str,
        ratio: float,
        observe: Observe | None = None,
        exporter: SpanExporter | None = None,
    ) -> None:
        self._provider = TracerProvider(
            resource=Resource.create(
                {
                    "service.name": service,
                    "service.namespace": "scoregate",
                    "service.version": version,
                    "scoregate.arm": arm,
                }
            ),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(exporter or _otlp(endpoint), schedule_delay_millis=500))
        self._tracer = self._provider.get_tracer("scoregate", version)
        self._ratio = ratio
        self._observe = observe

    def begin(self, traceparent: str | None, name: str, attributes: Mapping[str, str]) -> RequestTrace:
        parent = _parse(traceparent)
        if parent is None:
            if random.random() >= self._ratio:  # noqa: S311 - sampling, not a secret
                return RequestTrace(secrets.token_hex(16), None, None, self._observe)
            span = self._tracer.start_span(name, kind=SpanKind.SERVER, attributes=attributes)
            return RequestTrace(f"{span.get_span_context().trace_id:032x}", span, self._tracer, self._observe)
        trace_id, parent_id, sampled = parent
        if not sampled:
            return RequestTrace(trace_id, None, None, self._observe)
        remote = SpanContext(int(trace_id, 16), int(parent_id, 16), is_remote=True, trace_flags=TraceFlags(1))
        context = set_span_in_context(NonRecordingSpan(remote))
        span = self._tracer.start_span(name, context=context, kind=SpanKind.SERVER, attributes=attributes)
        return RequestTrace(trace_id, span, self._tracer, self._observe)

    def close(self) -> None:
        self._provider.shutdown()


def _otlp(endpoint: str) -> SpanExporter:
    """Make the exporter; a process that exports nothing does not import its HTTP client."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + "/v1/traces", timeout=2)


def _parse(traceparent: str | None) -> tuple[str, str, bool] | None:
    """Return (trace id, parent id, sampled), or None when there is no valid W3C traceparent."""
    found = _TRACEPARENT.match(traceparent) if traceparent else None
    if found is None or set(found[1]) == {"0"} or set(found[2]) == {"0"}:
        return None
    return found[1], found[2], bool(int(found[3], 16) & 1)
