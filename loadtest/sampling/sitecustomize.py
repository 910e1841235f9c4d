"""Samples where a worker's processor time goes, from within: Python imports this file at startup, once on its path.

From SIGUSR1 to SIGUSR2 a timer of the process's own processor time asks, again and again, which thread has taken how
much since the last time, and what it is doing; then the stacks are written to SAMPLES, a line of `<stack> <us>` each.
A profiler from outside stops the process where it enters the kernel or lets other threads in, and so finds it there:
a system call of 0.2 us looked like 4.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from types import FrameType

EVERY_S = 0.002
WORKER = "_bentoml_impl.worker.service"

_seen: Counter[str] = Counter()
_taken_ns: dict[int, int] = {}
_clocks: dict[int, int] = {}


def _taken() -> dict[int, int]:
    """Processor time of each thread so far, in nanoseconds."""
    for one in threading.enumerate():
        if one.ident is not None and one.ident not in _clocks:
            _clocks[one.ident] = time.pthread_getcpuclockid(one.ident)
    taken = {}
    for ident, clock in _clocks.items():
        # A thread may have ended.
        with suppress(OSError):
            taken[ident] = time.clock_gettime_ns(clock)
    return taken


def _stack(frame: FrameType | None) -> str:
    frames = []
    while frame is not None:
        code = frame.f_code
        frames.append(f"{code.co_qualname} ({_short(code.co_filename)}:{frame.f_lineno})")
        frame = frame.f_back
    return ";".join(reversed(frames))


def _short(file: str) -> str:
    """From the package on, as it would be imported."""
    for root in sorted(sys.path, key=len, reverse=True):
        if root and file.startswith(root):
            return file[len(root) :].lstrip("/")
    return file


def _sample(_: int, frame: FrameType | None) -> None:
    now_ns, frames = _taken(), sys._current_frames()
    main = threading.main_thread().ident
    for ident, ns in now_ns.items():
        if took_us := (ns - _taken_ns.get(ident, ns)) // 1_000:
            _seen[_stack(frame if ident == main else frames.get(ident))] += took_us
    # What looking took is nobody's.
    _taken_ns.update(_taken())


def _begin(_: int, __: FrameType | None) -> None:
    _seen.clear()
    _taken_ns.update(_taken())
    signal.setitimer(signal.ITIMER_PROF, EVERY_S, EVERY_S)


def _end(_: int, __: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    into = Path(os.environ["SAMPLES"])
    part = into.with_suffix(".part")
    part.write_text("".join(f"{stack} {us}\n" for stack, us in _seen.items()))
    part.replace(into)


if WORKER in sys.orig_argv:
    signal.signal(signal.SIGPROF, _sample)
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
