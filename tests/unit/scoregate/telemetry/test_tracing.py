"""Which requests leave a trace, and what of one arrives at a receiver."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import otlp
from conftest import free_ports
from scoregate.telemetry import context, names
from scoregate.telemetry.export import FAILED_PER_S, LIMIT, QUEUE, REFUSED, OtlpExport, exporter
from scoregate.telemetry.tracing import MOST_STAGES, RequestTrace, Tracing
from scoregate.tracing_settings import Queue, TracingSettings
from stack.running import eventually

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{:02x}"


class Counts:
    """Counts of one export."""

    def __init__(self) -> None:
        self.sent, self.lost_by = 0, Counter[str]()

    def exported(self, spans: int) -> None:
        self.sent += spans

    def lost(self, reason: str, spans: int) -> None:
        self.lost_by[reason] += spans


class Kept:
    """Keeps every trace."""

    def __init__(self) -> None:
        self.traces: list[RequestTrace] = []

    def take(self, trace: RequestTrace) -> None:
        self.traces.append(trace)

    def close(self) -> None:
        self.traces.clear()


@contextmanager
def export(endpoint: str, counts: Counts, monkeypatch: pytest.MonkeyPatch, **queue: float) -> Iterator[OtlpExport]:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{endpoint}/v1/traces")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "10")
    limits = Queue(**{"delay_s": 0.01, **queue})  # type: ignore[arg-type]
    out = OtlpExport({"service.name": "toy"}, exporter("http/protobuf"), counts, limits, {"db.system.name": "redis"})
    yield out
    out.close()


def request(tracing: Tracing, status: int, traceparent: str | None = None, **said: str) -> RequestTrace:
    trace = tracing.begin(traceparent, "POST /v1/toy/score", {}, is_strange=False)
    with (
        trace.stage(names.SPAN_FEATURES) as features,
        trace.stage(names.SPAN_STORE, under=features, is_client=True) as read,
    ):
        if said:
            read.fail("online-store-unavailable")
    trace.set({names.ATTR_SOURCE: said.get("source", "model")})
    trace.end(status)
    return trace


def test_what_fails_leaves_although_sampling_left_it_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Errors and fallbacks are exported under the caller's trace id with all their stages; what went well is not."""
    counts = Counts()
    with otlp.endpoint(tmp_path, *free_ports(1)) as spans, export(spans.endpoint, counts, monkeypatch) as out:
        tracing = Tracing(keepers=(out,), ratio=0.0)
        well = request(tracing, 200)
        failed = request(tracing, 503)
        blind = request(tracing, 200, CALLER.format(0), source="fallback")
        eventually(lambda: counts.sent >= 6 and len(spans.seen()) >= 6)
        seen = spans.seen()

    assert {failed.trace_id, blind.trace_id} == {span.trace_id for span in seen}
    assert well.trace_id not in {span.trace_id for span in seen}
    assert "0af7651916cd43dd8448eb211c80319c" == blind.trace_id
    by_name = {span.name: span for span in seen if span.trace_id == blind.trace_id}
    assert by_name[names.SPAN_FEATURES].span_id == by_name[names.SPAN_STORE].parent_id
    assert by_name["POST /v1/toy/score"].span_id == by_name[names.SPAN_FEATURES].parent_id
    assert "b7ad6b7169203331" == by_name["POST /v1/toy/score"].parent_id
    assert "online-store-unavailable" == by_name[names.SPAN_STORE].attributes["error.type"]
    assert "redis" == by_name[names.SPAN_STORE].attributes["db.system.name"]


@pytest.mark.parametrize(
    ("flag", "is_strange", "ratio", "sampled"),
    [(1, False, 0.0, True), (0, False, 1.0, False), (1, True, 0.0, False), (0, True, 1.0, True)],
)
def test_a_strangers_flag_counts_for_nothing(flag: int, is_strange: bool, ratio: float, sampled: bool) -> None:
    """The gateway's decision is followed; whoever is outside neither raises the rate nor hides from it."""
    trace = Tracing(ratio=ratio).begin(CALLER.format(flag), "", {}, is_strange=is_strange)

    assert sampled is trace.sampled
    assert "0af7651916cd43dd8448eb211c80319c" == trace.trace_id


@pytest.mark.parametrize(
    "header",
    [None, "", "garbage", CALLER.format(1).upper(), "ff" + CALLER.format(1)[2:], f"00-{'0' * 32}-{'1' * 16}-01"],
)
def test_an_invalid_header_begins_a_new_trace(header: str | None) -> None:
    """What is no traceparent by W3C's rules is as good as none."""

    assert context.parse(header) is None


def test_a_dead_receiver_is_counted_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spans that nobody takes are lost, said, and no request's business."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        endpoint, counts = f"http://127.0.0.1:{nobody.getsockname()[1]}", Counts()
        with export(endpoint, counts, monkeypatch) as out:
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
            request(Tracing(keepers=(out,), ratio=1.0), 200)
            eventually(lambda: counts.lost_by[REFUSED] == 3)

    assert 0 == counts.sent


def test_a_full_queue_takes_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory is bounded: what finds no place is lost, and counted."""
    counts = Counts()
    with export("http://127.0.0.1:9", counts, monkeypatch, most=2, delay_s=3600) as out:
        for _ in range(5):
            request(Tracing(keepers=(out,), ratio=1.0), 200)

        assert {QUEUE: 9} == dict(counts.lost_by)


def test_an_outage_is_no_flood_of_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what fails beyond sampling so many leave in a second, and the others are counted."""
    counts = Counts()
    with export("http://127.0.0.1:9", counts, monkeypatch, delay_s=3600) as out:
        tracing = Tracing(keepers=(out,), ratio=0.0)
        monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
        for _ in range(FAILED_PER_S + 2):
            request(tracing, 503)

        assert {LIMIT: 6} == dict(counts.lost_by)


def test_a_batch_does_not_make_an_endless_trace() -> None:
    """What is beyond the most that a trace holds is counted, and not held."""
    trace = Tracing(keepers=(Kept(),)).begin(None, "", {})
    for _ in range(MOST_STAGES + 3):
        with trace.stage(names.SPAN_MODEL):
            pass

    assert (MOST_STAGES, 3) == (len(trace.stages), trace.left_out)


@pytest.mark.parametrize(
    ("said", "share", "url"),
    [
        ({}, 0.01, None),
        ({"SCOREGATE_TRACE_SAMPLING": "tail"}, 1.0, None),
        ({"SCOREGATE_TRACE_RATIO": "0.5", "OTEL_TRACES_SAMPLER_ARG": "0.25"}, 0.25, None),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, 0.0, None),
        ({"SCOREGATE_OTLP_ENDPOINT": "http://a:1/"}, 0.01, "http://a:1/v1/traces"),
        (
            {"SCOREGATE_OTLP_ENDPOINT": "http://a:1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://b:2"},
            0.01,
            "http://b:2/v1/traces",
        ),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:3/x"}, 0.01, "http://c:3/x"),
        ({"SCOREGATE_OTLP_ENDPOINT": "http://a:1", "SCOREGATE_OTLP_PROTOCOL": "grpc"}, 0.01, "http://a:1"),
        ({"SCOREGATE_OTLP_ENDPOINT": "http://a:1", "OTEL_SDK_DISABLED": "true"}, 0.01, None),
    ],
)
def test_opentelemetrys_own_variables_win(
    said: dict[str, str], share: float, url: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever knows OpenTelemetry finds that its variables mean here what they mean everywhere."""
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    settings = TracingSettings()

    assert (share, url) == (settings.sampled_share, settings.otlp_url)
