"""Times at a steady rate, by a generator in a process of its own: whatever else a benchmark does would make it late."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

from contenders import Contender
from openloop import OpenLoop, quantile

GIVE_UP_S = 5.0
"""No answer, or no place, after so long: at a steady rate that counts as one that took so long."""
AT_ONCE = 256
"""Requests in flight, at most; the others wait for a place, which counts."""
ANSWERED_OR_LATE = (200, 0, 503, 504)
"""Statuses that say nothing worse than that there was no time; whatever else is an error on the busiest machine."""


def steadily(contender: Contender, per_s: float, seconds: float) -> dict[str, float]:
    """Times at a steady rate, from when each request was due; what was not answered counts as having taken GIVE_UP_S.

    `late_ms`: by how much the generator itself was late.
    """
    key = contender.headers.get("Authorization", "Bearer none").partition(" ")[2]
    asked = {"port": contender.port, "path": contender.path, "key": key, "per_s": per_s, "seconds": seconds}
    said = json.dumps({**asked, "bodies": str(contender.bodies)})
    done = subprocess.run([sys.executable, __file__], input=said, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _sent(asked: dict[str, Any]) -> dict[str, float]:
    bodies, run, serial = Path(asked["bodies"]).read_bytes().splitlines(), uuid.uuid4().hex[:8], itertools.count()

    def body() -> bytes:
        n = next(serial)
        return bodies[n % len(bodies)] + f'{run}-{n}"}}'.encode()

    loop = OpenLoop(asked["port"], asked["path"], asked["key"], body, give_up_s=GIVE_UP_S, most=AT_ONCE)
    seen = asyncio.run(loop.send(asked["per_s"], asked["seconds"]))
    times, late_s = seen.times_of_all(GIVE_UP_S), sorted(seen.late_s)
    return {
        "per_s": asked["per_s"],
        **{f"p{name}_ms": quantile(times, q) * 1e3 for name, q in (("50", 0.5), ("99", 0.99), ("99.9", 0.999))},
        "failed": len(seen.samples) - len(seen.times(200)),
        "errors": sum(n for status, n in seen.statuses().items() if status not in ANSWERED_OR_LATE),
        "answered_per_s": seen.answered_per_s(),
        "late_ms": quantile(late_s, 0.99) * 1e3,
        "core": seen.cpu_share,
    }


if __name__ == "__main__":
    print(json.dumps(_sent(json.load(sys.stdin))))
