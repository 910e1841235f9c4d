"""All that takes part in a benchmark, started, filled and pinned."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from baseline.fill import fill, key
from contenders import OTHERS, SERVICES, Contender, apart, family, pin, running, served
from customers import by_zipf, copy_rows, customers, live_rows, originals, pairs
from goldens import requests_of
from ownstack import Own, own_stack
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis
from resting import resting

from conftest import free_ports
from otlp import endpoint
from scoregate import catalog
from scoregate.features.plan import FeaturePlan
from scoregate.local.plan import ports
from scoregate.models.artefact import Artefact, champion
from scoregate.training.repository import connection_string

DRAWS = 200_000
OURS, GATE, TUTORIAL, TUTORIAL_ASYNC, EMPTY = "fraud", "fraud by gateway", "tutorial", "tutorial async", "empty"
MLSERVER = "MLServer, model only"
WAITING = {"QUEUE_MS": "500", "RATE_PER_S": "1000000"}
"""Sixty-four callers who wait in turn rather than come again, with one key."""


@contextmanager
def arena(home: Path, folder: Path, *, mlserver: bool = True) -> Iterator[tuple[Own, dict[str, Contender]]]:
    """Start all that takes part, with the customers in the store.

    Raises:
        ValueError: our scores and the tutorial's differ, see `fill`.
    """
    with ExitStack() as opened:
        spans = opened.enter_context(endpoint(folder, free_ports(1)[0]))
        own = opened.enter_context(own_stack(home, OTLP_ENDPOINT=spans.endpoint, **WAITING))
        streams = {s for name in catalog.services() for s in _plan(own, name).streams}
        opened.enter_context(resting(own.settings, own.pids("worker"), sorted(streams)))
        paid = originals(own.settings)
        found = _ours(own, folder, paid) | _others(own, folder, paid, opened)
        if mlserver:
            found[MLSERVER] = _mlserver(own, folder, opened)
        for pid in (os.getpid(), *own.pids("valkey"), *own.pids("gateway")):
            pin([pid], OTHERS)
        for contender in found.values():
            pin(contender.pids(), SERVICES)
        yield own, found


def _plan(own: Own, service: str) -> FeaturePlan:
    return Artefact.load(champion(own.settings.models(service))).signature.plan


def _ours(own: Own, folder: Path, paid: list[dict[str, Any]]) -> dict[str, Contender]:
    who = customers(paid)
    store = Redis.from_url(own.settings.store_url)
    copy_rows(store, live_rows(own.settings, who))
    at, headers = ports(own.settings, catalog.services()), {"Authorization": f"Bearer {own.key}"}
    found = {}
    for name in catalog.services():
        lines = by_zipf(who, DRAWS) if name == OURS else _goldens(own, name)
        bodies = _written(folder / f"{name}.bodies", lines)
        url = f"http://127.0.0.1:{at.stable[name]}/v1/{name}/score"
        found[name] = Contender(name, url, bodies, lambda name=name: own.pids(f"{name}-stable"), headers)  # type: ignore[misc]
    ours = found[OURS]
    found[GATE] = replace(ours, name=GATE, url=f"{own.settings.gateway_url}/v1/{OURS}/score")
    return found


def _goldens(own: Own, service: str) -> list[bytes]:
    key = catalog.part(service, "contract").Request.NATURAL_KEY
    asked = ({k: v for k, v in one.items() if k != key} for one in requests_of(service, own.settings))
    return [json.dumps(one)[:-1].encode() + f',"{key}":"'.encode() for one in asked]


def _written(path: Path, lines: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path


def _others(own: Own, folder: Path, paid: list[dict[str, Any]], opened: ExitStack) -> dict[str, Contender]:
    registry = folder / "tutorial.db"
    differ = fill(own.settings, registry, paid)
    print(f"{len(paid)} payments score alike within {differ:.1e}", file=sys.stderr)
    copy_rows(Redis.from_url(own.settings.store_url), pairs(customers(paid), key))
    env = {
        "TUTORIAL_REGISTRY": str(registry),
        "TUTORIAL_STORE": connection_string(own.settings.store_url),
        "TUTORIAL_MODEL": str(champion(own.settings.models(OURS))),
    }
    found = {}
    for service, port in zip(("Tutorial", "Empty"), free_ports(2), strict=True):
        process = opened.enter_context(served(service, port, folder / f"{service.lower()}.log", env))
        name = service.lower()
        url = f"http://127.0.0.1:{port}/score"
        found[name] = Contender(name, url, folder / f"{OURS}.bodies", lambda pid=process.pid: family(pid))  # type: ignore[misc]
    tutorial = found[TUTORIAL]
    found[TUTORIAL_ASYNC] = replace(tutorial, name=TUTORIAL_ASYNC, url=f"{tutorial.url}_async")
    return found


def _mlserver(own: Own, folder: Path, opened: ExitStack) -> Contender:
    """The champion's forest in MLServer's process, asked with the vectors that the champion was accepted with."""
    of, home = champion(own.settings.models(OURS)), folder / "mlserver"
    home.mkdir()
    http, grpc, metrics = free_ports(3)
    settings = {"host": "127.0.0.1", "http_port": http, "grpc_port": grpc, "metrics_port": metrics, "debug": False}
    # On one core a second process that infers would only be in the way of the first.
    (home / "settings.json").write_text(json.dumps({**settings, "parallel_workers": 0}))
    model = {"name": OURS, "implementation": "mlserver_xgboost.XGBoostModel"}
    uri = {"parameters": {"uri": str(of / "model.ubj")}}
    (home / "model-settings.json").write_text(json.dumps({**model, **uri}))
    url, env = f"http://127.0.0.1:{http}/v2/models/{OURS}", {"OMP_NUM_THREADS": "1"}
    process = opened.enter_context(
        running([str(apart("mlserver")), "start", str(home)], f"{url}/ready", home / "log", env)
    )
    bodies = _written(folder / "mlserver.bodies", _vectors(of))
    return Contender(MLSERVER, f"{url}/infer", bodies, lambda: family(process.pid))


def _vectors(model: Path) -> list[bytes]:
    """Requests of the open inference protocol. A missing value is a number, since its JSON knows no other."""
    said = []
    for golden in json.loads((model / "golden.json").read_text()):
        data = [-1.0 if value is None else value for value in golden["vector"]]
        tensor = {"name": "vector", "shape": [1, len(data)], "datatype": "FP32", "data": data}
        said.append(json.dumps({"inputs": [tensor]})[:-1].encode() + b',"id":"')
    return said


def answers(found: dict[str, Contender]) -> dict[str, dict[str, int]]:
    """How the decisions of each service were made, by its own metrics since it started: source/rung/outcome."""
    said: dict[str, dict[str, int]] = {}
    for name in catalog.services():
        text = urllib.request.urlopen(f"http://127.0.0.1:{found[name].port}/metrics").read().decode()
        for family_ in text_string_to_metric_families(text):
            for sample in family_.samples:
                if sample.name == "scoregate_decisions_total":
                    kind = "/".join(sample.labels[label] for label in ("source", "rung", "outcome"))
                    said.setdefault(name, {})[kind] = said.get(name, {}).get(kind, 0) + int(sample.value)
    return said
