"""How soon an event shows in the next score: measured through the gateway of a running stack, under other events.

    make up && python loadtest/freshness.py --events-per-s 500 --probes 300 --json

Other accounts' events are posted meanwhile. A probe scores an account that was quiet and, under new transaction ids,
again and again until a decision's own vector shows that the first one was counted. Prints the time from the first
decision to the first that saw it, from the ledger's record of both, and the worker's own histogram. An event is durable
before it is sent on, so what the disk takes for that, measured meanwhile on a file beside the ledger, is part of it.
The exit code is 1 when p99 is above --p99-ms, a first decision is never seen, or the events could not be sent as fast
as was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import random
import re
import sys
import tempfile
import threading
import time
import urllib.request
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from scoregate import catalog
from scoregate.local.plan import ports
from scoregate.settings import Settings
from scoregate.training import decided

ACCOUNTS, MERCHANTS = 4_000, 2_000
PROBED = 1_000
"""The last so many accounts are probed; events are about the others."""
AT_ONCE = 10
PAUSE_S = 0.002
PROBE_S = 0.2
"""How long an account is scored again; what does not show by then counts as later than any target."""
STREAM = "transactions"
SYNC_PAUSE_S, SYNC_BYTES = 0.02, 4096


class Load:
    """Requests to one stack as a caller of fraud."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, seed: int) -> None:
        self._settings, self._client = settings, client
        self._rng = random.Random(seed)  # noqa: S311 - load, not a secret
        self._run, self._serial = uuid.uuid4().hex[:8], itertools.count()
        self._example = catalog.part("fraud", "contract").EXAMPLE
        self.accepted = 0
        self.refused: Counter[str] = Counter()

    def _payment(self, account: int) -> dict[str, Any]:
        return {
            **self._example,
            "transaction_id": f"fresh-{self._run}-{next(self._serial)}",
            "account_id": f"acc_{account:06d}",
            "device_id": f"dev_fresh_{self._rng.randrange(5_000)}",
            "merchant_id": f"mer_{self._rng.randrange(MERCHANTS):06d}",
            "amount_minor": self._rng.randint(100, 10_000),
        }

    async def post(self, per_s: float, ended: asyncio.Event) -> None:
        """Post so many events a second, a few in a request, each request at its time."""
        begin_s = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        for i in itertools.count():
            await asyncio.sleep(max(begin_s + i * AT_ONCE / per_s - time.monotonic(), 0))
            if ended.is_set():
                break
            task = asyncio.create_task(self._post_some())
            under_way.add(task)
            task.add_done_callback(under_way.discard)
        await asyncio.gather(*under_way)

    async def _post_some(self) -> None:
        at = datetime.now(UTC).isoformat()
        some = [self._payment(self._rng.randrange(ACCOUNTS - PROBED)) for _ in range(AT_ONCE)]
        events = [{"type": "settled", **each, "event_at": at} for each in some]
        try:
            answer = await self._client.post("events", json={"events": events})
            taken = [one for one in answer.json().get("results", ()) if one["status"] == "recorded"]
            why = answer.json().get("type", "") or str(answer.status_code)
        except httpx.TransportError as problem:
            taken, why = [], type(problem).__name__
        self.accepted += len(taken)
        if len(taken) < AT_ONCE:
            self.refused[why] += AT_ONCE - len(taken)

    async def probe(self, account: int) -> list[str]:
        """Score an account for as long as an event may take to show; return the decisions' ids, first first."""
        found: list[str] = []
        until_s = time.monotonic() + PROBE_S
        while time.monotonic() < until_s:
            answer = await self._client.post("score", json=self._payment(account))
            if answer.status_code == 200:
                found.append(answer.json()["decision_id"])
            await asyncio.sleep(PAUSE_S)
        return found


def syncs_ms(home: Path, ended: threading.Event) -> list[float]:
    """Return how long a small write took to become durable, again and again until it has ended."""
    found = []
    with tempfile.TemporaryFile(dir=home) as file:
        while not ended.wait(SYNC_PAUSE_S):
            begin_s = time.perf_counter()
            os.write(file.fileno(), b"x" * SYNC_BYTES)
            os.fdatasync(file.fileno())
            found.append((time.perf_counter() - begin_s) * 1e3)
    return found


async def measure(settings: Settings, per_s: float, probes: int, seed: int) -> tuple[list[list[str]], float, Load]:
    """Return the ids of each probe's decisions, and the events accepted per second."""
    key = (settings.home / "demo.key").read_text().strip()
    url = f"{settings.gateway_url}/v1/fraud/"
    async with httpx.AsyncClient(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=5) as client:
        load, ended = Load(settings, client, seed), asyncio.Event()
        posting = asyncio.create_task(load.post(per_s, ended))
        await asyncio.sleep(1)
        start_s, before = time.monotonic(), load.accepted
        found = [await load.probe(ACCOUNTS + i % PROBED) for i in range(probes)]
        rate = (load.accepted - before) / (time.monotonic() - start_s)
        ended.set()
        await posting
    return found, rate, load


def waits_ms(settings: Settings, found: list[list[str]], since_s: float) -> list[float]:
    """Return of each probe the time from its first decision to the first that counted it; inf for none."""
    place = catalog.part("fraud", "features").FEATURES.index("account_count_10m")
    decisions = decided.newest(settings, "fraud", since_s=since_s, limit=1_000_000)
    known = {each.decision_id: each for each in decisions}
    waits = []
    for ids in found:
        first, *later = (known[each] for each in ids)
        saw = (each.decided_at for each in later if each.vector[place] >= first.vector[place] + 1)
        # A first decision that could not read the store has nothing to count from.
        if first.vector[place] == first.vector[place]:
            waits.append((next(saw, float("inf")) - first.decided_at) * 1e3)
    return waits


def histogram(settings: Settings) -> dict[float, float]:
    """Read the worker's freshness histogram: upper bound in seconds → events up to it."""
    port = ports(settings, catalog.services()).worker
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    line = rf'^scoregate_event_freshness_seconds_bucket{{le="([^"]+)",stream="{STREAM}"}} (\S+)$'
    return {float(bound): float(count) for bound, count in re.findall(line, text, re.MULTILINE)}


def quantile_ms(before: dict[float, float], after: dict[float, float], q: float) -> float:
    """Return the upper bound of the bucket that a quantile of what came in between lies in."""
    new = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    return next(bound for bound, count in sorted(new.items()) if count >= q * max(new.values())) * 1e3


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events-per-s", type=float, default=500)
    parser.add_argument("--probes", type=int, default=200)
    parser.add_argument("--p99-ms", type=float, default=50.0, help="largest p99 that is accepted (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    settings = Settings()
    since_s, before = time.time(), histogram(settings)
    ended = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        syncing = pool.submit(syncs_ms, settings.home, ended)
        try:
            found, rate, load = asyncio.run(measure(settings, asked.events_per_s, asked.probes, asked.seed))
        finally:
            ended.set()
    after = histogram(settings)
    waits = waits_ms(settings, [ids for ids in found if ids], since_s)
    said = {
        "events_per_s": round(rate, 1),
        "refused": dict(load.refused),
        "probes": len(waits),
        "scores_per_probe": round(sum(map(len, found)) / max(len(found), 1), 1),
        "never_seen": sum(wait == float("inf") for wait in waits),
        "visible_p50_ms": round(float(np.quantile(waits, 0.5, method="higher")), 1),
        "visible_p99_ms": round(float(np.quantile(waits, 0.99, method="higher")), 1),
        "disk_p50_ms": round(float(np.quantile(syncing.result(), 0.5)), 1),
        "disk_p99_ms": round(float(np.quantile(syncing.result(), 0.99)), 1),
        "worker_p50_below_ms": quantile_ms(before, after, 0.5),
        "worker_p99_below_ms": quantile_ms(before, after, 0.99),
        "load": round(os.getloadavg()[0], 1),
    }
    if asked.json:
        print(json.dumps(said, indent=2))
    else:
        print("\n".join(f"{name} {value}" for name, value in said.items()))
    holds = said["visible_p99_ms"] <= asked.p99_ms and not said["never_seen"] and rate >= 0.95 * asked.events_per_s
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
