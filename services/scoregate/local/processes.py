"""Processes by pid and time of birth, and the one kind of child that the supervisor has."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from scoregate.local.state import Mark, ProcessSpec

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0
STEADY_S = 10.0
"""A child that lived this long is started again at once, however often it died before."""

LARGEST_LOG_BYTES = 16 * 1_048_576

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def mark_of(pid: int) -> Mark | None:
    with contextlib.suppress(psutil.Error, OSError):
        return Mark(pid, _birth(pid))
    return None


def _birth(pid: int) -> str:
    """When a process began, so that it holds when the clock is set: a wall-clock time would name no one after that."""
    if sys.platform != "linux":
        return repr(psutil.Process(pid).create_time())
    # Field 22, ticks since boot; the name before it may hold spaces and brackets.
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}:{ticks}"


def alive(mark: Mark) -> psutil.Process | None:
    """The very process of this mark, unless it ended or is only waiting to be reaped."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(mark.pid)
        if mark_of(mark.pid) == mark and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def end(marks: Iterable[Mark], *, grace_s: float) -> int:
    """Ask these processes to end, then make them; return how many there were."""
    processes = [process for mark in marks if (process := alive(mark))]
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, left = psutil.wait_procs(processes, timeout=grace_s)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(left, timeout=2)
    return len(processes)


def adopt_orphans() -> None:
    """Become the parent of grandchildren whose parent dies (Linux): BentoML's workers leave its process group."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with_parent() -> None:
    """Between fork and exec: SIGTERM reaches this process when its parent dies, however it dies (Linux)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)


def command(spec: ProcessSpec) -> list[str]:
    """`env` in front: the child's environment is the supervisor's with these changes, and nothing here reads either."""
    unset = [word for name, value in spec.env.items() if value is None for word in ("-u", name)]
    assigned = [f"{name}={value}" for name, value in spec.env.items() if value is not None]
    return ["env", *unset, *assigned, *spec.argv] if spec.env else list(spec.argv)


@dataclass(slots=True)
class Child:
    """One process that is started again whenever it ends, sooner or later by how long it lived."""

    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    mark: Mark | None = None
    offspring: set[Mark] = field(default_factory=set)
    restarts: int = 0
    _wait_s: float = FIRST_WAIT_S
    _started_at_s: float = 0.0
    _due_s: float = 0.0

    def start(self) -> None:
        """Start; what cannot be started at all is tried again like what died."""
        log = Path(self.spec.log)
        log.parent.mkdir(parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LARGEST_LOG_BYTES:
            log.replace(log.with_suffix(".old.log"))
        self._started_at_s = time.monotonic()
        with log.open("ab") as output:
            try:
                self.process = subprocess.Popen(
                    command(self.spec),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.spec.cwd,
                    start_new_session=True,
                    preexec_fn=end_with_parent,  # noqa: PLW1509 - the supervisor has one thread
                )
            except OSError as error:
                output.write(f"cannot be started: {error}\n".encode())
                self._plan()
                return
        self.mark = mark_of(self.process.pid)

    def ended(self) -> bool:
        """Whether it has just been found dead; what it left behind is cleared away and its return planned."""
        if self.process is None or self.process.poll() is None:
            return False
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        end(self.offspring, grace_s=0)
        self.process, self.mark, self.offspring = None, None, set()
        self._plan()
        return True

    def _plan(self) -> None:
        now_s = time.monotonic()
        if now_s - self._started_at_s >= STEADY_S:
            self._wait_s = FIRST_WAIT_S
        self._due_s = now_s + self._wait_s
        self._wait_s = min(self._wait_s * 2, LONGEST_WAIT_S)

    def due(self) -> bool:
        return self.process is None and time.monotonic() >= self._due_s

    def note_offspring(self) -> bool:
        """Look for descendants; return whether they changed."""
        if self.process is None:
            return False
        found: set[Mark] = set()
        with contextlib.suppress(psutil.Error):
            for each in psutil.Process(self.process.pid).children(recursive=True):
                if mark := mark_of(each.pid):
                    found.add(mark)
        changed = found != self.offspring
        self.offspring = found
        return changed

    def ask_to_stop(self) -> None:
        self.note_offspring()
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    def make_stop(self) -> None:
        """After the grace: the group, and descendants that left it."""
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        end(self.offspring, grace_s=0)
        self.process, self.mark, self.offspring = None, None, set()
