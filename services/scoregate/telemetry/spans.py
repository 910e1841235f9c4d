"""From a trace that is over to its spans, in a form that nothing but this house needs to know."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import field
from typing import Final, Literal

from scoregate.telemetry import names
from scoregate.telemetry.tracing import RequestTrace, Stage, Value
from scoregate.values import frozen

Kind = Literal["server", "client", "internal", "consumer"]

SERVER_ERROR: Final = 500


@frozen
class SpanRecord:
    """A span. Ids are lower-case hex, times nanoseconds since the epoch; `links` are traceparents."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: Kind
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Value] = field(default_factory=dict)
    error: str | None = None
    links: tuple[str, ...] = ()


def of_trace(trace: RequestTrace, store: Mapping[str, Value]) -> Iterator[SpanRecord]:
    """Yield the server span of a request, then its stages. `store` says where the online store is."""
    ours_to_epoch_ns = trace.wall_ns - trace.began_ns
    yield SpanRecord(
        trace.trace_id,
        trace.span_id,
        trace.parent_id,
        trace.name,
        "server",
        trace.wall_ns,
        trace.ended_ns + ours_to_epoch_ns,
        _said(trace),
        _error(trace),
    )
    for stage in trace.stages:
        stage.span_id = secrets.token_hex(8)
        # A caller that went away leaves a stage behind that nobody ended.
        ended_ns = stage.ended_ns or trace.ended_ns
        if not stage.started_ns:
            continue
        yield SpanRecord(
            trace.trace_id,
            stage.span_id,
            stage.under.span_id if stage.under else trace.span_id,
            stage.name,
            "client" if stage.is_client else "internal",
            stage.started_ns + ours_to_epoch_ns,
            ended_ns + ours_to_epoch_ns,
            {**store, **_of(stage)} if stage.is_client else _of(stage),
            stage.error,
        )


def _said(trace: RequestTrace) -> dict[str, Value]:
    said = {**trace.attributes, "http.response.status_code": trace.status}
    if error := _error(trace):
        said["error.type"] = error
    if trace.left_out:
        said[names.ATTR_LEFT_OUT] = trace.left_out
    if trace.failed and not trace.sampled:
        said[names.ATTR_KEPT_BECAUSE] = "failed"
    return said


def _error(trace: RequestTrace) -> str | None:
    """What a 5xx is; a caller's own fault is none of ours."""
    return (trace.error or str(trace.status)) if trace.status >= SERVER_ERROR else None


def _of(stage: Stage) -> Mapping[str, Value]:
    return {**stage.attributes, "error.type": stage.error} if stage.error else stage.attributes
