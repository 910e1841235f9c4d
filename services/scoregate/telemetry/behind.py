"""A thread that nobody waits for stays behind those that answer."""

from __future__ import annotations

import os
import sys
from typing import Final

NICE: Final = 10


def stay_behind() -> None:
    """Run the calling thread after others, where a thread has a niceness of its own (Linux); elsewhere nothing.

    Whoever wakes to answer then has the core at once, and the interpreter after `SWITCH_S` at most.
    """
    if sys.platform == "linux":
        os.nice(NICE)
