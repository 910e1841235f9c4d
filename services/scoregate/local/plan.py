"""Which process listens where, and how each is started: pure functions of the settings."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from scoregate.local.gateway import traefik_argv
from scoregate.local.state import ProcessSpec, Stage, run_dir
from scoregate.local.traefik import HOST, Certificate, GatewayLimits
from scoregate.local.valkey import store_port
from scoregate.settings import ROOT, Settings, other_names
from scoregate.values import frozen

FIRST_STABLE = 1
FIRST_CANARY = 51
LARGEST_HOUSE = FIRST_CANARY - FIRST_STABLE - 5
STAND_IN = 96
WORKER = 97
METRICS = 98
PROBLEMS = 99
ANSWER_MARGIN_S = 2.0
"""What the gateway waits beyond a service's own deadline, so that the service's answer comes first."""
DECISION_MARGIN_S = 0.05
"""What the gateway waits less than a decision's deadline: its 504 has to be written, and come, in time."""


@frozen
class Ports:
    """Every port of the stack, on 127.0.0.1; `store` is None when the store is another machine's.

    `stand_in` is taken while a service restarts.
    """

    gateway: int
    worker: int
    metrics: int
    problems: int
    stand_in: int
    store: int | None
    stable: Mapping[str, int]
    canary: Mapping[str, int]

    def named(self) -> dict[int, tuple[str, str]]:
        """Port → what listens there, and the setting that moves it; canaries only take theirs when they exist."""
        found = {self.gateway: ("the gateway", "SCOREGATE_GATEWAY_PORT")}
        if self.store is not None:
            found[self.store] = ("the online store", "SCOREGATE_STORE_URL")
        found |= {port: (f"the service {name}", "SCOREGATE_BASE_PORT") for name, port in self.stable.items()}
        found[self.worker] = ("the worker's metrics", "SCOREGATE_BASE_PORT")
        found[self.metrics] = ("the gateway's metrics", "SCOREGATE_BASE_PORT")
        found[self.problems] = ("the gateway's problem pages", "SCOREGATE_BASE_PORT")
        return found


def ports(settings: Settings, services: list[str]) -> Ports:
    """Services take ports in sorted order of name, so that a port means the same service tomorrow."""
    base = settings.base_port
    names = sorted(services)[:LARGEST_HOUSE]
    return Ports(
        gateway=settings.gateway_port,
        worker=base + WORKER,
        metrics=base + METRICS,
        problems=base + PROBLEMS,
        stand_in=base + STAND_IN,
        store=store_port(settings.store_url),
        stable={name: base + FIRST_STABLE + i for i, name in enumerate(names)},
        canary={name: base + FIRST_CANARY + i for i, name in enumerate(names)},
    )


def gateway_limits(settings: Settings) -> GatewayLimits:
    longest_ms, deadline_s = max(settings.deadline_ms, settings.batch_deadline_ms), settings.deadline_ms / 1000
    return GatewayLimits(
        max_body_bytes=settings.max_body_bytes,
        answer_s=longest_ms / 1000 + ANSWER_MARGIN_S,
        decision_s=max(deadline_s - DECISION_MARGIN_S, deadline_s / 2),
    )


def certificate(settings: Settings) -> Certificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(settings.tls_cert.resolve(), settings.tls_key.resolve())


def environment(settings: Settings) -> dict[str, str | None]:
    """Every setting, said outright: what the supervisor was once started with must not reach a child by itself."""
    said = {name: None if value is None else str(value) for name, value in settings.model_dump().items()}
    # They would win over the settings, and may be what the supervisor was started with.
    return {f"SCOREGATE_{name.upper()}": value for name, value in said.items()} | dict.fromkeys(other_names())


def process_name(service: str, arm: str) -> str:
    return f"{service}-{arm}"


def service_spec(
    settings: Settings,
    service: str,
    *,
    arm: str,
    port: int,
    revision: str,
    asked: int = 0,
    model_dir: Path | None = None,
    shadow_dir: Path | None = None,
    name: str | None = None,
) -> ProcessSpec:
    """One scoring process, named by service and arm unless it is said otherwise.

    Its BENTOML_HOME is its own: `bentoml serve` wipes the metrics of whoever shares it.
    """
    name = name or process_name(service, arm)
    folder = run_dir(settings.home) / name
    env = environment(settings) | {
        "SCOREGATE_ARM": arm,
        "SCOREGATE_RECENT_TRACES": "true",
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "true",
        "PROMETHEUS_MULTIPROC_DIR": None,
        # One row is scored faster by one thread than by many that wait for each other.
        "OMP_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
    }
    env["SCOREGATE_SHADOW_DIR"] = None if shadow_dir is None else str(shadow_dir)
    if model_dir is not None:
        env["SCOREGATE_MODEL_DIR"] = str(model_dir)
    return ProcessSpec(
        name=name,
        argv=(
            *(sys.executable, "-m", "bentoml", "serve", f"{service}.service:Service"),
            *("--working-dir", str(ROOT / "services"), "--host", HOST, "--port", str(port)),
            # Longer than the gateway keeps its idle connections.
            *("--timeout-keep-alive", "75"),
        ),
        log=str(run_dir(settings.home) / f"{name}.log"),
        stage=Stage.SERVICE,
        port=port,
        env=env,
        cwd=str(ROOT),
        health_url=f"http://{HOST}:{port}/readyz",
        stop_s=settings.drain_s + max(settings.deadline_ms, settings.batch_deadline_ms) / 1000 + 10,
        revision=revision,
        asked=asked,
    )


def worker_spec(settings: Settings, *, port: int, revision: str, asked: int = 0) -> ProcessSpec:
    """The process that counts events into the store."""
    return ProcessSpec(
        name="worker",
        argv=(sys.executable, "-m", "scoregate", "features", "run", "--port", str(port)),
        log=str(run_dir(settings.home) / "worker.log"),
        stage=Stage.WORKER,
        port=port,
        env=environment(settings) | {"PYTHONUNBUFFERED": "1", "PROMETHEUS_MULTIPROC_DIR": None},
        cwd=str(ROOT),
        health_url=f"http://{HOST}:{port}/readyz",
        revision=revision,
        asked=asked,
    )


def gateway_spec(home: Path, *, port: int, revision: str, asked: int = 0) -> ProcessSpec:
    return ProcessSpec(
        name="gateway",
        argv=tuple(traefik_argv(home)),
        log=str(run_dir(home) / "gateway.log"),
        stage=Stage.GATEWAY,
        port=port,
        # The default of 5 s is long for somebody who waits to see a trace.
        env={"OTEL_BSP_SCHEDULE_DELAY": "500"},
        stop_s=GatewayLimits().drain_s + 3,
        revision=revision,
        asked=asked,
    )
