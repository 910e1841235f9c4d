"""Where the stack under test sends its spans: a real Collector when OTELCOL names one, else a receiver of OTLP/HTTP."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Protocol

from stack.running import eventually, listening


@dataclass(frozen=True)
class SpanSeen:
    """A span as it arrived."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]


class Spans(Protocol):
    """An OTLP endpoint, and what has arrived there."""

    endpoint: str

    def seen(self) -> list[SpanSeen]: ...


def wait_for_trace(spans: Spans, trace_id: str, timeout_s: float = 60) -> list[SpanSeen]:
    """Wait until a trace is whole, its root there and every parent known, and return it."""
    until = time.monotonic() + timeout_s
    while True:
        trace = [span for span in spans.seen() if span.trace_id == trace_id]
        ids = {span.span_id for span in trace}
        whole = trace and all(not span.parent_id.strip("0") or span.parent_id in ids for span in trace)
        if whole or time.monotonic() > until:
            return trace
        time.sleep(0.2)


def tree(trace: list[SpanSeen]) -> str:
    """Draw a trace as an indented tree, one span a line."""
    ids = {span.span_id for span in trace}

    def lines(parent: str | None, depth: int) -> Iterator[str]:
        for span in trace:
            at_root = parent is None and span.parent_id not in ids
            if at_root or (parent is not None and span.parent_id == parent):
                yield "  " * depth + f"{span.service}: {span.name}"
                yield from lines(span.span_id, depth + 1)

    return "\n".join(lines(None, 0))


def from_json(request: dict[str, Any]) -> Iterator[SpanSeen]:
    """Read the spans of an export request in OTLP's JSON."""
    for resource in request.get("resourceSpans", ()):
        named = {a["key"]: a["value"] for a in resource["resource"].get("attributes", ())}
        service = named.get("service.name", {}).get("stringValue", "")
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                attributes = {a["key"]: next(iter(a["value"].values()), None) for a in span.get("attributes", ())}
                yield SpanSeen(
                    service, span["name"], span["traceId"], span["spanId"], span.get("parentSpanId", ""), attributes
                )


class _Receiver:
    """A receiver of OTLP/HTTP with protobuf bodies, in this process."""

    def __init__(self) -> None:
        self._spans: list[SpanSeen] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.take(self._body(), self.headers)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def _body(self) -> bytes:
                if length := self.headers["content-length"]:
                    return self.rfile.read(int(length))
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                return b"".join(chunks)

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def take(self, body: bytes, headers: Any) -> None:
        import gzip

        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        message = ExportTraceServiceRequest.FromString(gzip.decompress(body) if headers["content-encoding"] else body)
        for resource in message.resource_spans:
            service = next((a.value.string_value for a in resource.resource.attributes if a.key == "service.name"), "")
            for scope in resource.scope_spans:
                for span in scope.spans:
                    ids = span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex()
                    attributes = {
                        a.key: getattr(a.value, a.value.WhichOneof("value") or "string_value") for a in span.attributes
                    }
                    self._spans.append(SpanSeen(service, span.name, *ids, attributes))

    def seen(self) -> list[SpanSeen]:
        return list(self._spans)


class _Collector:
    """A real OpenTelemetry Collector that writes what it gets into a file."""

    def __init__(self, endpoint: str, file: Path) -> None:
        self.endpoint, self._file = endpoint, file

    def seen(self) -> list[SpanSeen]:
        if not self._file.exists():
            return []
        lines = self._file.read_text().splitlines()
        return [span for line in lines if line.endswith("}") for span in from_json(json.loads(line))]


@contextmanager
def endpoint(folder: Path, port: int) -> Iterator[Spans]:
    """Run the Collector that OTELCOL names, or the receiver."""
    program = os.environ.get("OTELCOL")
    if not program:
        receiver = _Receiver()
        yield receiver
        receiver.server.shutdown()
        return
    config, file = folder / "collector.yaml", folder / "spans.json"
    config.write_text(
        json.dumps(
            {
                "receivers": {"otlp": {"protocols": {"http": {"endpoint": f"127.0.0.1:{port}"}}}},
                "exporters": {"file": {"path": str(file), "flush_interval": "200ms"}},
                "service": {
                    "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["file"]}},
                    "telemetry": {"metrics": {"level": "none"}},
                },
            }
        )
    )
    with (folder / "collector.log").open("wb") as log:
        process = subprocess.Popen([program, "--config", str(config)], stdout=log, stderr=log)
    try:
        eventually(lambda: listening(port))
        yield _Collector(f"http://127.0.0.1:{port}", file)
    finally:
        process.terminate()
        process.wait(10)
