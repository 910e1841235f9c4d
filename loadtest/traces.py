"""Traces from end to end: the real Traefik, the real Collector, both ways of sampling, a store that is dead.

    OTELCOL=/path/to/otelcol python loadtest/traces.py --home /tmp/traces

Starts a stack of its own in --home, twice, and a Collector beside it; prints the span trees. The exit code is 1 when

  whole     a sampled request's trace is not one tree from the gateway to the ledger, the store's span in it, and the
            worker's span linked to it
  fallback  the store is dead, and a request's trace lacks the store's error or the rung it ended on; in `head` also of
            one that was left out by sampling
  outside   callers who say that they are sampled are exported more often than others
  tail      the Collector keeps what went well, or drops what did not
  back      a decision does not lead to its trace, or the trace to its decision
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from collector import Collector, Seen, collector, tree
from ownstack import Own, own_stack

from scoregate.ledger.archive import open_archive
from scoregate.settings import ROOT
from scoregate.telemetry import names

SERVICE = "fraud"
STAGES = (
    names.SPAN_AUTH,
    names.SPAN_FEATURES,
    names.SPAN_STORE,
    names.SPAN_MODEL,
    names.SPAN_POLICY,
    names.SPAN_LEDGER,
)
SERVER = f"POST /v1/{SERVICE}/score"
TAIL = ROOT / "deploy" / "otel" / "tail.yaml"
PROTOCOLS = {"head": "http/protobuf", "tail": "grpc"}
"""Each protocol has its turn."""
SETTLED_S = 14.0
"""The Collector's wait for the rest of a trace, and the gateway's for its next batch."""


@dataclass(slots=True)
class Result:
    """What one mode showed; `broken` names what did not hold."""

    mode: str
    protocol: str
    requests: int = 0
    exported: int = 0
    outside: int = 0
    outside_exported: int = 0
    broken: list[str] = field(default_factory=list)

    def check(self, what: str, holds: bool) -> None:
        if not holds and what not in self.broken:
            self.broken.append(what)


@dataclass(frozen=True, slots=True)
class Show:
    """One mode, its stack and its Collector."""

    own: Own
    seen: Collector
    result: Result

    def ask(self, count: int, *, outside: bool = False) -> list[str]:
        """Send so many requests; return the ids of their decisions' traces."""
        body = self.own.bodies(SERVICE)
        decisions = []
        for _ in range(count):
            headers = {"authorization": f"Bearer {self.own.key}", "content-type": "application/json"}
            if outside:
                headers["traceparent"] = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"
            url = f"{self.own.settings.gateway_url}/v1/{SERVICE}/score"
            request = urllib.request.Request(url, body(), headers)  # noqa: S310  this stack's own gateway
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
                decisions.append(json.load(answer)["decision_id"])
        return [self.trace_of(each) for each in decisions]

    def trace_of(self, decision_id: str) -> str:
        with closing(open_archive(self.own.settings.ledger(SERVICE))) as archive:  # type: ignore[type-var]
            recorded = archive.get(SERVICE, decision_id)
        assert recorded is not None
        return recorded.entry.trace_id

    def show(self, title: str, trace: list[Seen]) -> None:
        print(f"\n{self.result.mode}, {self.result.protocol}: {title}\n{tree(trace)}", file=sys.stderr)

    def whole(self, trace_ids: list[str]) -> None:
        """Of a sampled request every part is there."""
        found = [span.trace_id for span in self.seen.spans() if span.name == SERVER and span.trace_id in trace_ids]
        if not found:
            self.result.check("whole", holds=False)
            return
        trace = self.seen.wait_for(found[0], STAGES)
        roots = [span for span in trace if span.parent_id not in {one.span_id for one in trace}]
        self.show(f"one of {len(found)} kept of {len(trace_ids)}, trace {found[0]}", trace)
        self.result.check("whole", {*STAGES, SERVER} <= {span.name for span in trace})
        self.result.check("whole", [span.service for span in roots] == ["gateway"])
        linked = [span for span in self.seen.spans() if found[0] in span.links]
        for span in linked[:1]:
            print(f"linked from {span.service}: {span.name}, trace {span.trace_id}", file=sys.stderr)
        self.result.check("whole", bool(linked) or self.result.mode == "tail")
        decision = next(span.attributes.get(names.ATTR_DECISION_ID) for span in trace if span.name == SERVER)
        self.result.check("back", self.trace_of(str(decision)) == found[0])

    def fallback(self) -> None:
        """With the store dead a trace says so, sampled or not."""
        self.own.scoregate("chaos", SERVICE, "store=dead", "--seconds", "60")
        try:
            (trace_id,) = self.ask(1)
        finally:
            self.own.scoregate("chaos", SERVICE)
        trace = self.seen.wait_for(trace_id, STAGES)
        self.show(f"the store is dead, trace {trace_id}", trace)
        server = next((span for span in trace if span.name == SERVER), None)
        store = next((span for span in trace if span.name == names.SPAN_STORE), None)
        self.result.check("fallback", bool(store and store.is_error))
        self.result.check("fallback", bool(server and server.attributes.get(names.ATTR_SOURCE) == "fallback"))
        left_out = "gateway" not in {span.service for span in trace}
        self.result.check("fallback", left_out == (self.result.mode == "head"))


@contextmanager
def _running(mode: str, protocol: str, arguments: argparse.Namespace) -> Iterator[Show]:
    folder = arguments.home / f"collector-{mode}"
    with collector(arguments.otelcol, folder, TAIL if mode == "tail" else None) as seen:
        endpoint = seen.grpc if protocol == "grpc" else seen.http
        said = {"TRACE_SAMPLING": mode, "OTLP_PROTOCOL": protocol, "OTLP_ENDPOINT": endpoint, "CHAOS": "true"}
        with own_stack(arguments.home, **said) as own:
            yield Show(own, seen, Result(mode, protocol))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--otelcol", default=os.environ.get("OTELCOL"), help="the Collector's program")
    parser.add_argument("--requests", type=int, default=1_000, help="per mode, and as many from outside (%(default)s)")
    parser.add_argument("--modes", nargs="+", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not arguments.otelcol:
        parser.error("name the Collector's program with --otelcol or OTELCOL")
    results = []
    for mode in arguments.modes:
        with _running(mode, PROTOCOLS[mode], arguments) as show:
            _one(show, arguments.requests)
            results.append(show.result)
    for result in results:
        print(json.dumps(asdict(result)) if arguments.json else result)
    return int(any(result.broken for result in results))


def _one(show: Show, requests: int) -> None:
    result = show.result
    ours, strangers = set(show.ask(requests)), set(show.ask(requests, outside=True))
    time.sleep(SETTLED_S)
    kept = {span.trace_id for span in show.seen.spans()}
    result.requests, result.exported = len(ours), len(ours & kept)
    result.outside, result.outside_exported = len(strangers), len(strangers & kept)
    # A share of 1 % within five standard deviations.
    most = requests * 0.01 + 5 * (requests * 0.01) ** 0.5
    result.check("outside", result.outside_exported <= most)
    result.check("tail" if result.mode == "tail" else "whole", result.exported <= most)
    show.whole(sorted(ours))
    show.fallback()


if __name__ == "__main__":
    sys.exit(main())
