"""The waterfall of `scoregate trace`, from files as the processes write them."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from scoregate.local import StackError
from scoregate.local.trace import trace, traces_dir
from scoregate.settings import Settings
from scoregate.telemetry import names
from scoregate.telemetry.recent import MOST_BYTES, Recent, TraceFile, read
from scoregate.telemetry.spans import SpanRecord
from scoregate.telemetry.tracing import RequestTrace, Tracing

DECISION = "0190a0b0-0000-7000-8000-000000000001"


def decided(folder: Path, decision_id: str = DECISION, source: str = "model") -> RequestTrace:
    """A request that was traced, and written down."""
    recent = Recent("fraud", TraceFile(folder, "fraud-stable"), {"db.system.name": "redis"})
    one = Tracing(keepers=(recent,)).begin(None, "POST /v1/fraud/score", {})
    with (
        one.stage(names.SPAN_FEATURES) as features,
        one.stage(names.SPAN_STORE, under=features, is_client=True) as store,
    ):
        if source == "fallback":
            store.fail("online-store-unavailable")
    one.set({names.ATTR_DECISION_ID: decision_id, names.ATTR_SOURCE: source})
    one.end(200)
    recent.close()
    return one


def drawn(home: Path, asked: str | None = None) -> str:
    console = Console(file=io.StringIO(), width=200)
    assert 0 == trace(Settings(home=home), console, asked)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_decision_leads_to_its_trace_and_back(tmp_path: Path) -> None:
    """By the id of either, or none for the last decision, one sees the same lines, children below parents."""
    one = decided(traces_dir(tmp_path), source="fallback")
    text = drawn(tmp_path)

    assert text == drawn(tmp_path, DECISION) == drawn(tmp_path, one.trace_id)
    assert f"trace {one.trace_id}  decision {DECISION}" in text
    assert "source=fallback" in text
    starts = ("fraud: POST", "  fraud: features.read", f"    fraud: {names.SPAN_STORE}")
    assert all(line.startswith(start) for line, start in zip(text.splitlines()[1:], starts, strict=False))


def test_what_is_linked_is_drawn_too(tmp_path: Path) -> None:
    """The worker's batch is a trace of its own, and the way to it is the link."""
    one = decided(traces_dir(tmp_path))
    at = time.time_ns()
    span = SpanRecord(
        "9" * 32, "8" * 16, "", "process x", "consumer", at, at, links=(f"00-{one.trace_id}-{'1' * 16}-01",)
    )
    TraceFile(traces_dir(tmp_path), "worker").write("features", [[span]])

    assert "features: process x" in drawn(tmp_path)


def test_the_file_is_bounded_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    """A file that is full gives way to a new one, and one more is kept."""
    file = tmp_path / "fraud-stable.jsonl"
    file.write_text("x" * (MOST_BYTES + 1) + "\n")
    decided(tmp_path)

    assert 3 == len(list(read(tmp_path)))
    assert {"fraud-stable.jsonl", "fraud-stable.jsonl.1"} == {path.name for path in tmp_path.iterdir()}
    assert file.stat().st_size < MOST_BYTES


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """Nothing kept, or an id of nothing, is a sentence."""
    with pytest.raises(StackError, match="No trace is kept yet"):
        drawn(tmp_path)
