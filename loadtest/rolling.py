"""Restarts every service under load, one after the other: no request fails.

    python loadtest/rolling.py --home /tmp/rolling --json

Starts a stack of its own in --home. Each service is asked for decisions at --rate while `scoregate restart` renews it.
The exit code is 1 when any answer was not 200.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from openloop import OpenLoop, quantile
from ownstack import Own, own_stack

from scoregate import catalog

CALM_S = 2.0


def restarted(own: Own, service: str, per_s: float, deadline_ms: int = 1_000) -> dict[str, Any]:
    """Renew one service under load; return what its callers saw."""
    return asyncio.run(_restarted(own, service, per_s, deadline_ms))


async def _restarted(own: Own, service: str, per_s: float, deadline_ms: int) -> dict[str, Any]:
    path, bodies = f"/v1/{service}/score", own.bodies(service)
    load = OpenLoop(own.settings.gateway_port, path, own.key, bodies, deadline_ms=deadline_ms)
    sending = asyncio.create_task(load.send(per_s, 600))
    await asyncio.sleep(CALM_S)
    before, began_s = own.pids(f"{service}-stable"), time.monotonic()
    await asyncio.to_thread(own.scoregate, "restart", service)
    took_s = time.monotonic() - began_s
    await asyncio.sleep(CALM_S)
    sending.cancel()
    await load.settled()
    samples = load.run.samples
    return {
        "service": service,
        "renewed": before[:1] != own.pids(f"{service}-stable")[:1],
        "took_s": round(took_s, 1),
        "requests": len(samples),
        "failed": sum(sample.status != 200 for sample in samples),
        "statuses": load.run.statuses(),
        "outcomes": load.run.outcomes(),
        "p99_ms": round(quantile(load.run.times(), 0.99) * 1000, 1),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a stack of its own")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (%(default)s)")
    parser.add_argument("--service", action="append", help="only this; may be said again (all)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with own_stack(asked.home) as own:
        rows = [restarted(own, service, asked.rate) for service in asked.service or catalog.services()]
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "services": rows}, indent=2))
    else:
        for row in rows:
            print(", ".join(f"{name} {value}" for name, value in row.items()))
    return 0 if all(row["renewed"] and not row["failed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
