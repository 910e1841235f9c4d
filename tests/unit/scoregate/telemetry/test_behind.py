"""Threads that nobody waits for stay behind those that answer."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from prometheus_client import CollectorRegistry

from scoregate.telemetry.behind import NICE
from scoregate.telemetry.export import OtlpExport
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.recent import Recent, TraceFile
from scoregate.tracing_settings import Queue
from stack.running import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a thread has a niceness of its own on Linux alone")


@contextmanager
def exporting(_: Path) -> Iterator[None]:
    out = OtlpExport({}, ConsoleSpanExporter, Metrics("toy", "stable", CollectorRegistry()), Queue(), {})
    yield
    out.close()


@contextmanager
def keeping(folder: Path) -> Iterator[None]:
    recent = Recent("toy", TraceFile(folder, "1"), {})
    yield
    recent.close()


def niceness(thread: threading.Thread) -> int:
    assert thread.native_id is not None
    return os.getpriority(os.PRIO_PROCESS, thread.native_id)


@pytest.mark.parametrize(("made", "name"), [(exporting, "otlp"), (keeping, "recent")])
def test_it_stays_behind_and_nobody_else(
    made: Callable[[Path], AbstractContextManager[None]], name: str, tmp_path: Path
) -> None:
    """It gives way to the loop; the thread that started it is as it was."""
    before = niceness(threading.main_thread())
    with made(tmp_path):
        (thread,) = (each for each in threading.enumerate() if each.name == name)
        eventually(lambda: niceness(thread) == min(before + NICE, 19))

        assert niceness(threading.main_thread()) == before
