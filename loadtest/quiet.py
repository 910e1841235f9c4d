"""A machine that leaves a benchmark alone, as far as one is permitted to ask for that; all who take part have it alike.

What else runs on a machine is in the slowest answers of everybody. Here its own daemons take a core for 3 to 9 ms once
a second, and a core that fell asleep is late by as much: a server that does nothing but answer, asked 700 times a
second, has a p99.9 of 5 to 14 ms, and of 2 ms where both are kept away.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

LATENCY = Path("/dev/cpu_dma_latency")
"""While somebody holds a zero that was written to it, no core sleeps deeper than it can wake from at once."""


def foremost(pids: Iterable[int], priority: int = 1) -> bool:
    """Run all their threads, and those that they will start, before whatever is ordinary; return whether one may.

    Of those, who has the higher priority goes first; equal ones take turns of up to 100 ms. A thread that has chosen
    to stay behind the others of its process (by its niceness) does.
    """
    return _scheduled(pids, os.SCHED_RR, priority)


def ordinary(pids: Iterable[int]) -> None:
    """Run all their threads as everybody's."""
    _scheduled(pids, os.SCHED_OTHER, 0)


def _scheduled(pids: Iterable[int], policy: int, priority: int) -> bool:
    try:
        for pid in pids:
            with suppress(psutil.NoSuchProcess):
                for thread in psutil.Process(pid).threads():
                    with suppress(ProcessLookupError):
                        if policy == os.SCHED_RR and os.getpriority(os.PRIO_PROCESS, thread.id) > 0:
                            continue
                        os.sched_setscheduler(thread.id, policy, os.sched_param(priority))
    except PermissionError:
        return False
    return True


@contextmanager
def awake() -> Iterator[bool]:
    """Keep the cores from sleep until the block ends; yields whether that is permitted here."""
    try:
        held = os.open(LATENCY, os.O_WRONLY)
    except OSError:
        yield False
        return
    try:
        os.write(held, (0).to_bytes(4, "little"))
        yield True
    finally:
        os.close(held)
