"""A machine that leaves a benchmark alone, as far as one is permitted to ask for that; all who take part have it alike.

What else runs on a machine is in the slowest answers of everybody. Here its own daemons take a core for 3 to 9 ms once
a second: a server that does nothing but answer has a p99.9 of 5 to 14 ms, and of 2 ms where they are kept away.
To keep cores from sleep besides (`/dev/cpu_dma_latency`) made the worst worse, as if a host took away what is never
idle (fraud at 850/s: p99.9 14 ms in the middle of six stretches, and 32 so).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import psutil


def foremost(pids: Iterable[int], priority: int = 1) -> bool:
    """Run all their threads, and those that they will start, before whatever is ordinary; return whether one may.

    Of those, who has the higher priority goes first; equal ones take turns of up to 100 ms. So a process's other
    threads go before its first, which waits for what they do, and would keep them waiting where it is busy: decisions
    at 900/s then stood still before the ledger for 40 ms and more. A thread that has chosen to stay behind the others
    of its process (by its niceness) does.
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
                        above = policy == os.SCHED_RR and thread.id != pid
                        os.sched_setscheduler(thread.id, policy, os.sched_param(priority + above))
    except PermissionError:
        return False
    return True
