"""As many requests as so many connections can, by wrk: written in C, it costs a tenth of what a server does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = Path(__file__).with_name("wrk.lua")


@dataclass(frozen=True, slots=True)
class Flood:
    """What a stretch of load saw. Times are those of a closed loop: they say nothing about a steady rate."""

    requests: int
    seconds: float
    failed: int
    p50_ms: float
    p99_ms: float
    p999_ms: float

    @classmethod
    def of(cls, said: str) -> Flood:
        """Read what wrk.lua and k6.js say at their end."""
        found = json.loads(said.rpartition("RESULT ")[2])
        quantiles = (found[f"p{q}_us"] / 1e3 for q in ("50", "99", "999"))
        return cls(found["requests"], found["us"] / 1e6, found["failed"], *quantiles)

    @property
    def per_s(self) -> float:
        return self.requests / self.seconds


def flood(
    url: str, bodies: Path, headers: Mapping[str, str], *, connections: int, seconds: float, core: int | None = None
) -> Flood:
    """Send to one URL for so long, on one thread. `bodies`: beginnings of bodies, see wrk.lua.

    Raises:
        LookupError: there is no wrk on this machine.
    """
    said = [f"-H{name}: {value}" for name, value in {"Content-Type": "application/json", **headers}.items()]
    command = [program(), "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout=5s", "-s", str(SCRIPT), *said, url]
    return Flood.of(ran([*command, "--", str(bodies), uuid.uuid4().hex[:12]], core))


def program() -> str:
    """Where wrk is.

    Raises:
        LookupError: there is no wrk on this machine.
    """
    found = shutil.which("wrk")
    if found is None:
        raise LookupError("the generator is wrk: install it (on Debian and Ubuntu: apt install wrk)")
    return found


def ran(command: Sequence[str], core: int | None, env: Mapping[str, str] | None = None) -> str:
    """Run a generator, on one core where one is named; return what it says."""
    pinned = None if core is None else lambda: os.sched_setaffinity(0, {core})
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env, preexec_fn=pinned).stdout
