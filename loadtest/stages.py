"""Where the processor time of one request goes: what a sampling profiler sees of a process under load, by stage.

    samples of py-spy → the innermost frame that belongs to a stage → its share of the processor time of a request

Libraries that many use, such as json, count with whoever called them. A thread that waits counts nowhere.
"""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

SAMPLES_PER_S: Final = 200
OTHER: Final = "other"

STAGES: Final[dict[str, tuple[str, ...]]] = {
    "HTTP": ("uvicorn/", "scoregate/serving/protocol.py", "scoregate/serving/http.py", "scoregate/serving/bento.py"),
    "event loop": ("asyncio/runners.py", "uvicorn/server.py"),
    "authenticate": ("scoregate/serving/auth.py", "scoregate/serving/keys.py", "scoregate/serving/buckets.py"),
    "admit and parse": (
        "scoregate/serving/wire.py",
        "scoregate/serving/gate.py",
        "scoregate/serving/admission.py",
        "scoregate/serving/bound.py",
        "scoregate/serving/answering.py",
        "scoregate/deadline.py",
        "pydantic/main.py",
    ),
    "windows and vector": ("scoregate/features/windows.py", "fraud/", "credit/", "kyc/"),
    "read features": ("scoregate/features/", "scoregate/scoring/reading.py", "redis/"),
    "forest": ("scoregate/models/forest.py", "treelite/"),
    "policy and reasons": ("scoregate/deciding.py", "scoregate/policy", "scoregate/models/"),
    "record": (
        "scoregate/ledger/",
        "scoregate/scoring/recording.py",
        "scoregate/hashing.py",
        "scoregate/randomness.py",
    ),
    "send events": ("scoregate/streaming/", "scoregate/serving/events.py", "scoregate/events.py"),
    "trace": (
        "scoregate/telemetry/tracing.py",
        "scoregate/telemetry/recent.py",
        "scoregate/serving/tracing.py",
        "opentelemetry/",
    ),
    "count": ("scoregate/telemetry/metrics.py", "prometheus_client/"),
    "log": ("scoregate/telemetry/logs.py",),
    "route and render": ("scoregate/serving/", "scoregate/scoring/"),
}
"""Stage → files that are its; the first stage that has a frame's file is the frame's."""

_WAITS: Final = ("(threading.py", "(concurrent/futures/thread.py", "WriterThread._next_group ", "(selectors.py")


def start(pid: int, seconds: float, into: Path) -> subprocess.Popen[bytes]:
    """Begin to sample a process; it ends by itself, and has then written `into`."""
    program = Path(sys.executable).with_name("py-spy")
    length = ("--duration", f"{seconds:g}", "--rate", str(SAMPLES_PER_S))
    command = [
        str(program),
        "record",
        "--pid",
        str(pid),
        *length,
        "--format",
        "raw",
        "--threads",
        "--output",
        str(into),
    ]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def budget(samples: Iterable[str], cpu_us: float) -> dict[str, float]:
    """Share `cpu_us` of one request out among the stages, the largest first. `samples`: lines of `<stack> <count>`."""
    seen: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        frames = stack.split(";")
        if not any(each in frames[-1] for each in _WAITS):
            seen[_stage(frames)] += int(count)
    total = seen.total() or 1
    return {stage: cpu_us * count / total for stage, count in seen.most_common()}


def _stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        file = frame.rpartition("(")[2]
        for stage, files in STAGES.items():
            if file.startswith(files):
                return stage
    return OTHER
