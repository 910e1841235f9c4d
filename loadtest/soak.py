"""A long run at an even rate: memory and times stay where they are.

    python loadtest/soak.py --home /tmp/soak --requests 1000000 --json

Starts a stack of its own in --home. Every --every seconds the resident memory of all the service's processes and the
99th percentile of the window are noted; after the first fifth a straight line is laid through each. The exit code is 1
when memory grows by more than 2 % of itself, or the 99th percentile by more than half, over the rest of the run, or
when more than 1 in 100 answers was no decision: a machine that is held up for a tenth of a second refuses what came
meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from contenders import family, resident_mb
from openloop import OpenLoop, quantile
from ownstack import Own, own_stack

SERVICE = "fraud"
WARM_UP = 0.2


async def soaked(own: Own, requests: int, per_s: float, every_s: float) -> dict[str, Any]:
    """Send so many requests; return what was noted and the lines through it."""
    load = OpenLoop(own.settings.gateway_port, f"/v1/{SERVICE}/score", own.key, own.bodies(SERVICE))
    pid = own.pids(f"{SERVICE}-stable")[0]
    memory, p99, statuses, said = [], [], dict[int, int](), dict[str, int]()
    sending = asyncio.create_task(load.send(per_s, requests / per_s))
    while not sending.done():
        await asyncio.wait([sending], timeout=every_s)
        window, load.run.samples = load.run.samples, []
        load.run.late_s.clear()
        for sample in window:
            statuses[sample.status] = statuses.get(sample.status, 0) + 1
            said[sample.said] = said.get(sample.said, 0) + 1
        memory.append(resident_mb(family(pid)))
        p99.append(quantile(sorted(sample.seconds for sample in window), 0.99) * 1000)
        print(f"{memory[-1]:.1f} MB, p99 {p99[-1]:.1f} ms, {statuses}", file=sys.stderr, flush=True)
    return {
        "requests": sum(statuses.values()),
        "statuses": statuses,
        "said": said,
        "failed_share": round(1 - statuses.get(200, 0) / sum(statuses.values()), 5),
        "memory_mb": [round(memory[0], 1), round(memory[-1], 1)],
        "memory_growth": round(_growth(memory), 4),
        "p99_ms": [round(p99[0], 1), round(p99[-1], 1)],
        "p99_growth": round(_growth(p99), 4),
        "load": os.getloadavg()[0],
    }


def _growth(noted: Sequence[float]) -> float:
    """Return by what share of its mean a straight line through the noted rises over the run."""
    rest = np.array(noted[int(len(noted) * WARM_UP) :])
    if len(rest) < 2:
        return 0.0
    slope = np.polyfit(np.arange(len(rest)), rest, 1)[0]
    return float(slope * len(rest) / rest.mean())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a stack of its own")
    parser.add_argument("--requests", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=300.0, help="requests a second (%(default)s)")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between notes (%(default)s)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with own_stack(asked.home) as own:
        found = asyncio.run(soaked(own, asked.requests, asked.rate, asked.every))
    print(json.dumps(found, indent=2) if asked.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    is_flat = found["memory_growth"] < 0.02 and found["p99_growth"] < 0.5
    return 0 if is_flat and found["failed_share"] <= 0.01 else 1


if __name__ == "__main__":
    sys.exit(main())
