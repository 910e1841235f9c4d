"""What a benchmark compares: processes of one's own with an address, pinned to a core, and what they cost."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

SERVICES, OTHERS = 0, 1
"""Cores: what is measured has one to itself; generator, store and gateway share the other."""

PATIENCE_S = 180.0
BASELINE = Path(__file__).with_name("baseline")


@dataclass(frozen=True, slots=True)
class Contender:
    """`pids` are those whose time is counted; a gateway in front is not among them."""

    name: str
    url: str
    bodies: Path
    pids: Callable[[], list[int]]
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def port(self) -> int:
        return int(self.url.split(":")[2].split("/")[0])

    @property
    def path(self) -> str:
        return "/" + self.url.split("/", 3)[3]


def apart(name: str) -> Path:
    """Return a program that `make bench` keeps in an environment of its own.

    Raises:
        LookupError: it is not there.
    """
    program = Path(sys.executable).parents[1] / name / "bin" / name
    if not program.exists():
        raise LookupError(f"{name} has an environment of its own, which `make bench` makes: start it by that")
    return program


def pin(pids: Sequence[int], core: int) -> None:
    """Keep every thread that there is, and so those that they will start, on one core."""
    for pid in pids:
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            for thread in psutil.Process(pid).threads():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, {core})


def cpu_s(pids: Sequence[int]) -> float:
    """Processor time that these processes have taken so far."""
    total = 0.0
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            times = psutil.Process(pid).cpu_times()
            total += times.user + times.system
    return total


def resident_mb(pids: Sequence[int]) -> float:
    """Memory of these processes, what they share counted once for each."""
    return sum(psutil.Process(pid).memory_info().rss for pid in pids) / 1e6


def family(pid: int) -> list[int]:
    return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]


@contextmanager
def served(service: str, port: int, log: Path, env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Run one service of `baseline/` by `bentoml serve`, until the block ends."""
    command = [sys.executable, "-m", "bentoml", "serve", f"service:{service}", "--working-dir", str(BASELINE)]
    own = {"BENTOML_HOME": str(log.with_suffix(".home")), "BENTOML_DO_NOT_TRACK": "true", "OMP_NUM_THREADS": "1"}
    address = ("--host", "127.0.0.1", "--port", str(port))
    with running([*command, *address], f"http://127.0.0.1:{port}/readyz", log, {**own, **env}) as process:
        yield process


@contextmanager
def running(
    command: Sequence[str], ready_url: str, log: Path, env: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; it begins when the URL answers 200. Raises as `until_answered`."""
    with log.open("wb") as said:
        process = subprocess.Popen(command, env={**os.environ, **env}, stdout=said, stderr=said, start_new_session=True)
        try:
            until_answered(ready_url, process, log)
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def until_answered(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a URL answers 200.

    Raises:
        TimeoutError: it never does; the log says why.
    """
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s and process.poll() is None:
        with suppress(urllib.error.URLError, OSError):
            if urllib.request.urlopen(url, timeout=2).status == 200:  # noqa: S310 - our own
                return
        time.sleep(0.1)
    raise TimeoutError(log.read_text()[-2000:])
