"""Decisions of the toy, as its ledger holds them, and its model as it is stored."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

import toy
from scoregate.features.links import Alert
from scoregate.features.memory import MemoryFeatures
from scoregate.hashing import KeyedHash
from scoregate.ledger import Entry
from scoregate.ledger.memory import MemoryLedger
from scoregate.models.artefact import Artefact
from scoregate.scoring import Asked
from scoregate.scoring.scorer import Scorer
from scoregate.scoring.shadow import Shadow
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED
from scoregate.training.artefact import as_bytes, write


def stored(models: Path, policy: str = toy.POLICY, names: tuple[str, ...] = toy.FEATURES) -> Artefact:
    """Write the toy's model where models are kept, and read it from there."""
    signature = toy.artefact().signature
    features = [{**asdict(stats), "name": name} for stats, name in zip(signature.features, names, strict=True)]
    said = {
        "service": "toy",
        "feature_service": "toy_v1",
        "plan": toy.PLAN.as_json(),
        "features": features,
        "calibrator": {"a": 1.0, "b": 0.0},
        "training": {},
    }
    files = {
        "model.ubj": toy.booster(),
        "signature.json": as_bytes(said),
        "policy.toml": policy.encode(),
        "golden.json": b"[]",
        "metrics.json": b"{}",
    }
    return Artefact.load(write(models, files))


def alerting(*_: Any) -> Alert:
    return Alert("grp_1", ("grp_2",), ("device",))


CODES = {"plain": toy.CODE, "alerts": SimpleNamespace(**vars(toy.CODE), alert=alerting)}


def sources() -> list[MemoryFeatures]:
    """A store that is whole, stale, emptied, dead, busy, or has a null for a fact."""
    dead, null = toy.source(), toy.source()
    dead.down = True
    null.put("payer_facts", ("known",), {"limit_minor": None}, toy.NOW_S - 10)
    emptied = toy.source(marked=False)
    emptied.rows.clear()
    return [toy.source(), toy.source(at_s=toy.NOW_S - 100), emptied, dead, toy.source(payments_today=12), null]


def decisions(artefact: Artefact, shadow: Shadow | None = None) -> list[Entry]:
    """Decide some payments from every such store, with and without alerts."""
    ledger = MemoryLedger("toy")
    for n, (source, code) in enumerate((source, code) for source in sources() for code in CODES.values()):
        metrics = Metrics("toy", "stable", CollectorRegistry())
        parts = (artefact, code, source, ledger, KeyedHash(b"k" * 32), metrics)
        scorer = Scorer(*parts, arm="stable", shadow=shadow)
        for amount in (900, 6_000, 9_900, 600_000):
            request = toy.Request.model_validate_json(toy.body(payment_id=f"p{n}-{amount}", amount_minor=amount))
            asyncio.run(scorer.decide(Asked(request, None, toy.NOW_S, UNTRACED.begin(None, "", {}))))
    return [recorded.entry for recorded in ledger._entries]


def as_json(entry: Entry) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(entry.answer)
    return found
