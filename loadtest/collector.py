"""A real OpenTelemetry Collector for as long as a block runs, and what has arrived there."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEAD = """
receivers:
  otlp:
    protocols:
      http: {endpoint: "${env:OTLP_HTTP}"}
      grpc: {endpoint: "${env:OTLP_GRPC}"}
exporters: {otlp_http: {endpoint: unused}}
service: {pipelines: {traces: {receivers: [otlp], exporters: [otlp_http]}}}
"""
INTO_A_FILE = """
exporters: {file: {path: "${env:SPANS}", flush_interval: 200ms}}
service:
  telemetry: {metrics: {level: none}}
  pipelines: {traces: {exporters: [file]}}
"""


@dataclass(frozen=True, slots=True)
class Seen:
    """A span as it came out of the Collector."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, Any]
    is_error: bool
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Collector:
    """Where it listens, over HTTP and over gRPC, and its file of spans."""

    http: str
    grpc: str
    file: Path

    def spans(self) -> list[Seen]:
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        return [span for line in lines if line.endswith("}") for span in _read(json.loads(line))]

    def trace(self, trace_id: str) -> list[Seen]:
        return [span for span in self.spans() if span.trace_id == trace_id]

    def wait_for(self, trace_id: str, names: Sequence[str], timeout_s: float = 30.0) -> list[Seen]:
        """Return a trace once it has spans of all these names, or what of it there is."""
        until_s = time.monotonic() + timeout_s
        while True:
            found = self.trace(trace_id)
            if set(names) <= {span.name for span in found} or time.monotonic() > until_s:
                return found
            time.sleep(0.3)


@contextlib.contextmanager
def collector(program: str, folder: Path, rules: Path | None = None) -> Iterator[Collector]:
    """Run one, with the product's rules for the tail, or with none; what it lets pass is written into a file."""
    folder.mkdir(parents=True, exist_ok=True)
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    http, grpc = (f"127.0.0.1:{one.getsockname()[1]}" for one in held)
    for one in held:
        one.close()
    head, into = folder / "head.yaml", folder / "file.yaml"
    head.write_text(HEAD)
    into.write_text(INTO_A_FILE)
    file = folder / "spans.json"
    file.unlink(missing_ok=True)
    env = {"OTLP_HTTP": http, "OTLP_GRPC": grpc, "SPANS": str(file)}
    with (folder / "collector.log").open("wb") as log:
        command = [program, "--config", str(rules or head), "--config", str(into)]
        process = subprocess.Popen(command, stdout=log, stderr=log, env=env)
    try:
        _wait(int(http.rpartition(":")[2]), process)
        yield Collector(f"http://{http}", f"http://{grpc}", file)
    finally:
        process.terminate()
        process.wait(30)


def tree(trace: Sequence[Seen]) -> str:
    """Draw a trace, one span a line."""
    ids = {span.span_id for span in trace}

    def lines(parent: str | None, depth: int) -> Iterator[str]:
        for span in trace:
            if (parent is None and span.parent_id not in ids) or (parent is not None and span.parent_id == parent):
                yield "  " * depth + f"{span.service}: {span.name}{'  ERROR' if span.is_error else ''}{_said(span)}"
                yield from lines(span.span_id, depth + 1)

    return "\n".join(lines(None, 0))


def _said(span: Seen) -> str:
    wanted = ("http.response.status_code", "scoregate.source", "scoregate.rung", "scoregate.kept_because", "error.type")
    said = [f"{name}={span.attributes[name]}" for name in wanted if name in span.attributes]
    return f"  [{' '.join(said)}]" if said else ""


def _wait(port: int, process: subprocess.Popen[bytes]) -> None:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise RuntimeError("the Collector does not listen; see its log")


def _read(request: dict[str, Any]) -> Iterator[Seen]:
    for resource in request.get("resourceSpans", ()):
        service = _values(resource["resource"]).get("service.name", "")
        for scope in resource.get("scopeSpans", ()):
            for span in scope.get("spans", ()):
                yield Seen(
                    service,
                    span["name"],
                    span["traceId"],
                    span["spanId"],
                    span.get("parentSpanId", ""),
                    _values(span),
                    span.get("status", {}).get("code") == 2,
                    tuple(link["traceId"] for link in span.get("links", ())),
                )


def _values(of: dict[str, Any]) -> dict[str, Any]:
    return {a["key"]: next(iter(a["value"].values()), None) for a in of.get("attributes", ())}
