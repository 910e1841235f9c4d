"""Where the processor time of one request goes: what a worker's sampler sees under load, by stage.

    samples of `sampling/` → the innermost frame that belongs to a stage → its share of the processor time of a request

Libraries that many use, such as json, count with whoever called them.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from scoregate.local.state import ProcessSpec
from scoregate.settings import ROOT

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
    "count": ("scoregate/telemetry/metrics.py", "scoregate/telemetry/gathering.py", "prometheus_client/"),
    "log": ("scoregate/telemetry/logs.py",),
    "route and render": ("scoregate/serving/", "scoregate/scoring/"),
}
"""Stage → files that are its; the first stage that has a frame's file is the frame's."""

SAMPLER: Final = Path(__file__).with_name("sampling")
PATIENCE_S: Final = 10.0


def sampled(spec: ProcessSpec, into: Path, code: Path = ROOT) -> ProcessSpec:
    """Give a process's worker the sampler, and let it run the code of another checkout where `code` says so."""
    ours, theirs = str(ROOT / "services"), str(code / "services")
    argv = tuple(theirs if each == ours else each for each in spec.argv)
    return replace(spec, argv=argv, env={**spec.env, "PYTHONPATH": f"{theirs}:{SAMPLER}", "SAMPLES": str(into)})


@contextmanager
def sampling(pid: int, into: Path) -> Iterator[None]:
    """Let a worker sample itself until the block ends; it has then written `into`.

    Raises:
        TimeoutError: it has not.
    """
    os.kill(pid, signal.SIGUSR1)
    yield
    os.kill(pid, signal.SIGUSR2)
    until_s = time.monotonic() + PATIENCE_S
    while not into.exists():
        if time.monotonic() > until_s:
            raise TimeoutError(f"process {pid} has written no samples")
        time.sleep(0.05)


def budget(samples: Iterable[str], cpu_us: float) -> dict[str, float]:
    """Share `cpu_us` of one request out among the stages, the largest first. `samples`: lines of `<stack> <count>`."""
    seen: Counter[str] = Counter()
    for line in samples:
        stack, _, count = line.rpartition(" ")
        seen[_stage(stack.split(";"))] += int(count)
    total = seen.total() or 1
    return {stage: cpu_us * count / total for stage, count in seen.most_common()}


def _stage(frames: list[str]) -> str:
    for frame in reversed(frames):
        file = frame.rpartition("(")[2]
        for stage, files in STAGES.items():
            if file.startswith(files):
                return stage
    return OTHER
