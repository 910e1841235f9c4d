"""Three times too much: what is let in keeps its time, the rest is refused at once, and afterwards all is as before.

    python loadtest/overload.py --home /tmp/overload --seconds 60 --json

Starts a stack of its own in --home and asks one service, at the gateway or with --direct at the process. First closed
loops find how many decisions a second it makes at most (saturation); then an open loop offers half of that, and then
--times of it. The exit code is 1 when in the flood a second made less than 80 % of saturation, or refusals took more
than 10 ms at the 99th percentile. The generator's own share of a core is in the result: where it and the gateway have
to share cores with the service, the figure is that of the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from openloop import OpenLoop, Run, quantile
from ownstack import Own, own_stack

SERVICE = "fraud"
CALLERS = 24
REFUSED = 503


class Flood:
    """One service under too much."""

    def __init__(self, own: Own, *, direct: bool = False, deadline_ms: int = 1_000) -> None:
        first_stable = own.settings.base_port + 2
        self._own, self._port = own, first_stable if direct else own.settings.gateway_port
        self._deadline_ms = deadline_ms

    def _load(self) -> OpenLoop:
        path, bodies = f"/v1/{SERVICE}/score", self._own.bodies(SERVICE)
        return OpenLoop(self._port, path, self._own.key, bodies, deadline_ms=self._deadline_ms)

    async def saturation(self, seconds: float) -> float:
        """Return decisions a second of callers who each wait for their answer."""
        began_s, run = time.monotonic(), await self.crowd(CALLERS, seconds)
        return len(run.times(200)) / (time.monotonic() - began_s)

    async def crowd(self, callers: int, seconds: float) -> Run:
        """Let so many callers ask, each again as soon as it is answered or refused."""
        load, until_s = self._load(), time.monotonic() + seconds

        async def caller() -> None:
            while time.monotonic() < until_s:
                await load.one(time.monotonic())

        await asyncio.gather(*(caller() for _ in range(callers)))
        return load.run

    async def offered(self, per_s: float, seconds: float) -> Run:
        return await self._load().send(per_s, seconds)

    async def recovery_s(self, per_s: float) -> float:
        """Return after how long at a bearable rate nothing is refused any more."""
        began_s = time.monotonic()
        run = await self.offered(per_s, 5)
        return max((s.due_s + s.seconds - began_s for s in run.samples if s.status != 200), default=0.0)


def _ms(run: Run, share: float, status: int) -> float:
    return round(quantile(run.times(status), share) * 1000, 2)


def _seconds(run: Run) -> list[int]:
    """Decisions in each whole second of a run."""
    began_s = min(s.due_s for s in run.samples)
    made = Counter(int(s.due_s + s.seconds - began_s) for s in run.samples if s.status == 200)
    last = int(max(s.due_s for s in run.samples) - began_s)
    return [made[second] for second in range(last)]


async def measured(own: Own, asked: argparse.Namespace) -> dict[str, Any]:
    flood = Flood(own, direct=asked.direct)
    await flood.saturation(5)
    saturation = await flood.saturation(asked.warm)
    half = await flood.offered(saturation / 2, asked.warm)
    run = await flood.offered(saturation * asked.times, asked.seconds)
    recovery_s = await flood.recovery_s(saturation / 2)
    began_s = min(s.due_s for s in run.samples)
    per_second = _seconds(run)
    return {
        "saturation_per_s": round(saturation),
        "offered_per_s": round(saturation * asked.times),
        "goodput_per_s": round(len(run.times(200)) / asked.seconds),
        "goodput_share": round(len(run.times(200)) / asked.seconds / saturation, 3),
        "worst_second_share": round(min(per_second) / saturation, 3),
        "statuses": run.statuses(),
        "said": run.outcomes(),
        "half_p99_ms": _ms(half, 0.99, 200),
        "accepted_p50_ms": _ms(run, 0.5, 200),
        "accepted_p99_ms": _ms(run, 0.99, 200),
        "refused_p50_ms": _ms(run, 0.5, REFUSED),
        "refused_p99_ms": _ms(run, 0.99, REFUSED),
        "first_refusal_s": round(min((s.due_s - began_s for s in run.samples if s.status == REFUSED), default=-1), 3),
        "recovery_s": round(recovery_s, 2),
        "generator_cpu": round(run.cpu_share, 2),
        "generator_late_p99_ms": round(quantile(sorted(run.late_s), 0.99) * 1000, 2),
        "load": os.getloadavg()[0],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a stack of its own")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long there is too much (%(default)g)")
    parser.add_argument("--warm", type=float, default=10.0, help="how long each of the others takes (%(default)g)")
    parser.add_argument("--times", type=float, default=3.0, help="of saturation (%(default)g)")
    parser.add_argument("--direct", action="store_true", help="past the gateway")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with own_stack(asked.home, RATE_PER_S="100000", LOG_REQUESTS="false") as own:
        found = asyncio.run(measured(own, asked))
    print(json.dumps(found, indent=2) if asked.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0 if found["worst_second_share"] >= 0.8 and found["refused_p99_ms"] < 10 else 1


if __name__ == "__main__":
    sys.exit(main())
