"""Three times too much: what is let in keeps its time, the rest is refused at once, and afterwards all is as before.

    python loadtest/overload.py --home /tmp/overload --seconds 60 --json

Starts a stack of its own in --home and asks one service: at its process, which has a core of its own, or with --gateway
through the gateway, with no cores kept apart. Closed loops of as many callers as always find a place say how many
decisions a second it makes at most (saturation), before and after; an open loop offers half of that, and then --times
of it. The exit code is 1 when in the flood five seconds made less than 80 % of saturation, or refusals took more than
10 ms at the 99th percentile. The generator's own share of a core, and how late it was, are in the result: what shares
cores with the service, as gateway and generator do on a small machine, is in the figures too.
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

from contenders import OTHERS, SERVICES, cpu_s, pin
from openloop import OpenLoop, Run, quantile
from ownstack import Own, own_stack

SERVICE = "fraud"
CALLERS, CROWD = 8, 64
"""As many as always find a place; and so many that nearly all are refused."""

REFUSED = 503
WINDOW_S = 5


class Flood:
    """One service under too much."""

    def __init__(self, own: Own, *, direct: bool = False, deadline_ms: int = 1_000) -> None:
        first_stable = own.settings.base_port + 2
        self._own, self._port = own, first_stable if direct else own.settings.gateway_port
        self._deadline_ms = deadline_ms

    def _load(self) -> OpenLoop:
        path, bodies = f"/v1/{SERVICE}/score", self._own.bodies(SERVICE)
        return OpenLoop(self._port, path, self._own.key, bodies, deadline_ms=self._deadline_ms)

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


def _windows(run: Run, length_s: int) -> list[float]:
    """Decisions a second in each whole window of a run."""
    began_s = min(s.due_s for s in run.samples)
    made = Counter(int((s.due_s + s.seconds - began_s) / length_s) for s in run.samples if s.status == 200)
    last = int((max(s.due_s for s in run.samples) - began_s + 1) / length_s)
    return [made[window] / length_s for window in range(last)]


def _refusal_us(some: tuple[int, int, float], many: tuple[int, int, float]) -> int | None:
    """Processor time of a refusal, from two crowds whose decisions cost alike; None where both were refused alike."""
    (made, refused, took_s), (made2, refused2, took2_s) = some, many
    alike = refused2 * made - refused * made2
    return round((took2_s * made - took_s * made2) / alike * 1e6) if alike > 0 else None


def _keep_apart(own: Own) -> list[int]:
    """Give the service one core, and all that works with it the other; return the service's processes."""
    found = own.pids(f"{SERVICE}-stable")
    pin(found, SERVICES)
    for name in ("valkey", "worker", "gateway"):
        pin(own.pids(name), OTHERS)
    pin([os.getpid()], OTHERS)
    return found


async def measured(own: Own, asked: argparse.Namespace) -> dict[str, Any]:
    flood = Flood(own, direct=not asked.gateway)
    pids = own.pids(f"{SERVICE}-stable") if asked.gateway else _keep_apart(own)

    async def saturation() -> float:
        began_s, run = time.monotonic(), await flood.crowd(CALLERS, asked.warm)
        return len(run.times(200)) / (time.monotonic() - began_s)

    async def crowded(callers: int) -> tuple[int, int, float]:
        """Decisions, refusals, and what they took of the processor, in seconds."""
        spent_s, run = cpu_s(pids), await flood.crowd(callers, asked.warm)
        return len(run.times(200)), len(run.times(REFUSED)), cpu_s(pids) - spent_s

    await flood.crowd(CALLERS, 5)
    before = await saturation()
    some, many = await crowded(2 * CALLERS), await crowded(CROWD)
    half = await flood.offered(before / 2, asked.warm)
    run = await flood.offered(before * asked.times, asked.seconds)
    recovery_s = await flood.recovery_s(before / 2)
    after = await saturation()
    at_most = (before + after) / 2
    began_s = min(s.due_s for s in run.samples)
    return {
        "saturation_per_s": [round(before), round(after)],
        "offered_per_s": round(before * asked.times),
        "goodput_per_s": round(len(run.times(200)) / asked.seconds),
        "goodput_share": round(len(run.times(200)) / asked.seconds / at_most, 3),
        "worst_window_share": round(min(_windows(run, WINDOW_S)) / at_most, 3),
        "worst_second_share": round(min(_windows(run, 1)) / at_most, 3),
        "statuses": run.statuses(),
        "said": run.outcomes(),
        "half_p99_ms": _ms(half, 0.99, 200),
        "accepted_p50_ms": _ms(run, 0.5, 200),
        "accepted_p99_ms": _ms(run, 0.99, 200),
        "refused_p50_ms": _ms(run, 0.5, REFUSED),
        "refused_p99_ms": _ms(run, 0.99, REFUSED),
        "refusal_cpu_us": _refusal_us(some, many),
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
    parser.add_argument("--gateway", action="store_true", help="through the gateway, and no cores kept apart")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with own_stack(asked.home, RATE_PER_S="100000", LOG_REQUESTS="false") as own:
        found = asyncio.run(measured(own, asked))
    print(json.dumps(found, indent=2) if asked.json else "\n".join(f"{name}: {value}" for name, value in found.items()))
    return 0 if found["worst_window_share"] >= 0.8 and found["refused_p99_ms"] < 10 else 1


if __name__ == "__main__":
    sys.exit(main())
