"""The gateway's spans: taken as OTLP from Traefik, kept beside the services' recent traces."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scoregate.telemetry.recent import TraceFile
from scoregate.telemetry.spans import Kind, SpanRecord

PATH = "/v1/traces"

_KINDS: dict[int, Kind] = {2: "server", 3: "client", 5: "consumer"}
_ERROR = 2


def take(folder: Path, body: bytes, *, is_compressed: bool) -> None:
    """Write down what an export request holds; what cannot be read is nobody's loss."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    try:
        request = ExportTraceServiceRequest.FromString(gzip.decompress(body) if is_compressed else body)
    except (DecodeError, OSError, EOFError):
        return
    TraceFile(folder, "gateway").write("gateway", [[span] for span in _spans(request)])


def _spans(request: Any) -> Iterator[SpanRecord]:
    for resource in request.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield SpanRecord(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    _KINDS.get(span.kind, "internal"),
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    # Of the gateway's own attributes most are the caller's words: address, path, agent.
                    {
                        a.key: a.value.int_value
                        for a in span.attributes
                        if a.key == "http.response.status_code" and a.value.int_value
                    },
                    "error" if span.status.code == _ERROR else None,
                )
