"""What grows with what: bytes and answers by entities in the store, microseconds by trees, answers by rows of a batch.

    python loadtest/scaling.py --home .scoregate-bench --json      starts its own stack, and needs wrk; ten minutes

Entities are copies of the demo's customers, an account and a device each, and payments about them are drawn by Zipf's
law; service and the rest have a core each, as in `bench.py`. Forests of a size are trained on noise with the
champion's features and depth: what a tree says does not matter to how long it is asked. Exit code 1 when an answer
failed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import uuid
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import numpy as np
import xgboost as xgb
from bench import flooded
from contenders import OTHERS, SERVICES, Contender, pin
from customers import by_zipf, copy_rows, customers, live_rows, originals
from ownstack import Own, own_stack
from redis import Redis
from resting import resting

from scoregate import catalog
from scoregate.local.plan import ports
from scoregate.models.artefact import Artefact, champion
from scoregate.models.forest import Forest

SERVICE, DEPTH = "fraud", 5
ENTITIES = (10_000, 100_000, 1_000_000)
TREES = (100, 300, 1_000)
ROWS = (1, 10, 100, 1_000)
CALLS, ROUNDS = 200, 5


def by_entities(own: Own, folder: Path, seconds: float) -> list[dict[str, float]]:
    """Bytes that a customer takes in the store, and what one process answers, as customers become more."""
    store, paid = Redis.from_url(own.settings.store_url), originals(own.settings)
    before, said = _used(store), []
    for count in ENTITIES:
        who = customers(paid, count)
        copy_rows(store, live_rows(own.settings, who))
        bodies = folder / f"{count}.bodies"
        bodies.write_bytes(b"\n".join(by_zipf(who, 200_000)) + b"\n")
        url = f"http://127.0.0.1:{_port(own)}/v1/{SERVICE}/score"
        headers = {"Authorization": f"Bearer {own.key}"}
        ours = Contender(SERVICE, url, bodies, lambda: own.pids(f"{SERVICE}-stable"), headers)
        used = _used(store)
        stretches = [flooded(ours, 16, seconds) for _ in range(ROUNDS)]
        said.append(
            {
                "customers": count,
                "store_mb": used / 1e6,
                "bytes_each": (used - before) / count,
                "per_s": median(one.per_s for one in stretches),
                "cpu_us": median(one.cpu_us for one in stretches),
                "failed": sum(one.failed for one in stretches),
            }
        )
        print(said[-1], file=sys.stderr, flush=True)
    return said


def _used(store: Redis) -> int:
    return int(store.info("memory")["used_memory"])  # type: ignore[index]  # not one of the async client


def _port(own: Own) -> int:
    return ports(own.settings, catalog.services()).stable[SERVICE]


def by_trees(own: Own) -> list[dict[str, float]]:
    """Time to load a forest and to score one row by it, as its trees become more."""
    features = len(Artefact.load(champion(own.settings.models(SERVICE))).signature.features)
    rng, said = np.random.default_rng(7), []
    rows = rng.normal(size=(20_000, features)).astype(np.float32)
    labels = rng.random(len(rows)) < 0.3
    for count in TREES:
        told = {"max_depth": DEPTH, "objective": "binary:logistic", "nthread": 2, "eta": 0.05}
        raw = bytes(xgb.train(told, xgb.DMatrix(rows, labels), count).save_raw("ubj"))
        began_s = time.perf_counter()
        forest = Forest.from_bytes(raw, 1.0, 0.0)
        loaded_s = time.perf_counter() - began_s
        took_s = median(_timed(forest, rows[n : n + 1]) for n in range(ROUNDS))
        said.append({"trees": count, "load_ms": loaded_s * 1e3, "row_us": took_s * 1e6, "megabytes": len(raw) / 1e6})
        print(said[-1], file=sys.stderr, flush=True)
    return said


def _timed(forest: Forest, row: np.ndarray[Any, Any]) -> float:
    began_s = time.perf_counter()
    for _ in range(CALLS):
        forest.predict(row)
    return (time.perf_counter() - began_s) / CALLS


def by_rows(own: Own, seconds: float) -> list[dict[str, float]]:
    """Rows a second of batches, one after the other, as a batch has more rows."""
    paid, run, said = originals(own.settings), uuid.uuid4().hex[:8], []
    url = f"http://127.0.0.1:{_port(own)}/v1/{SERVICE}/score:batch"
    headers = {"Authorization": f"Bearer {own.key}", "X-Request-Deadline-Ms": "4000"}
    with httpx.Client(headers=headers, timeout=30) as client:
        for count in ROWS:
            sent, failed, began_s = 0, 0, time.monotonic()
            while time.monotonic() - began_s < seconds:
                rows = [
                    {**paid[n % len(paid)], "transaction_id": f"{run}-{count}-{n}"} for n in range(sent, sent + count)
                ]
                answers = client.post(url, json={"rows": rows}).raise_for_status().json()["results"]
                failed += sum(one["status"] != 200 for one in answers)
                sent += count
            said.append({"rows": count, "per_s": sent / (time.monotonic() - began_s), "failed": failed})
            print(said[-1], file=sys.stderr, flush=True)
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="of a stack of its own; made where absent")
    parser.add_argument("--seconds", type=float, default=4.0, help="of one stretch")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    more = {"RATE_PER_S": "1000000", "QUEUE_MS": "60"}
    with TemporaryDirectory(prefix="scoregate-scaling-") as name, own_stack(asked.home, **more) as own:
        plan = Artefact.load(champion(own.settings.models(SERVICE))).signature.plan
        pin([os.getpid(), *own.pids("valkey"), *own.pids("gateway")], OTHERS)
        pin(own.pids(f"{SERVICE}-stable"), SERVICES)
        with resting(own.settings, own.pids("worker"), sorted(plan.streams)):
            entities = by_entities(own, Path(name), asked.seconds)
            rows = by_rows(own, asked.seconds)
        said = {"entities": entities, "rows": rows, "trees": by_trees(own)}
    print(json.dumps(said, indent=2) if asked.json else "\n".join(f"{n}: {one}" for n in said for one in said[n]))
    return 1 if any(one.get("failed") for each in said.values() for one in each) else 0


if __name__ == "__main__":
    sys.exit(main())
