"""The gateway's files: one static, one for what all routes share, one per service that may change while it runs.

    <home>/run/gateway/traefik.yml           static: entry point, timeouts, tracing; a change needs a restart
    <home>/run/gateway/routes/_shared.yml    middlewares, the catch-all, the problem pages
    <home>/run/gateway/routes/<service>.yml  routers, weights, load balancers per arm; read again when it changes
    <home>/run/gateway/back/<service>.yml    the same with everything on the stable arm: `routes.py` goes back by it

The files are JSON, which is YAML too: they can be read back without a YAML library.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scoregate.local.arms import NOTE, service_config
from scoregate.local.routes import gateway_dir, route_file, routes_dir, way_back
from scoregate.local.state import write_atomically
from scoregate.local.traefik import CANARY, STABLE

SHARED = "_shared"


def traefik_argv(home: Path) -> list[str]:
    """The wheel puts the program beside the interpreter; one on PATH is not ours."""
    return [str(Path(sys.executable).parent / "traefik"), f"--configFile={gateway_dir(home) / 'traefik.yml'}"]


def write_static(home: Path, config: Mapping[str, Any]) -> str:
    """Write the static file; return its digest, by which the supervisor knows that a restart is due."""
    text = _text(config)
    write_atomically(gateway_dir(home) / "traefik.yml", text)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_shared(home: Path, config: Mapping[str, Any]) -> None:
    _write_route(home, SHARED, config)


def write_service(
    home: Path,
    service: str,
    ports: Mapping[str, int],
    weights: Mapping[str, int] | None = None,
    *,
    hosts: Mapping[str, Sequence[str]] | None = None,
    health_interval_s: float = 1.0,
) -> None:
    """Write a service's route; without `weights`, an earlier file's weights stay where their arms still are."""
    kept = read_weights(home, service) if weights is None else weights
    kept = {arm: kept.get(arm, 0) for arm in ports}
    if not any(kept.values()):
        kept = {arm: 100 if arm == STABLE else 0 for arm in ports}
    stable = {arm: port for arm, port in ports.items() if arm == STABLE}
    back = service_config(service, stable, {STABLE: 100}, hosts=hosts, health_interval_s=health_interval_s)
    # Before there is anything to go back from.
    write_atomically(way_back(home, service), _text(back))
    route = service_config(service, ports, kept, hosts=hosts, health_interval_s=health_interval_s)
    _write_route(home, service, route)


def set_weights(home: Path, service: str, *, stable: int, canary: int = 0) -> None:
    """Share requests between the arms, in percent or any other whole numbers; in effect within 0.1 s.

    Raises:
        ValueError: a weight is negative, both are 0, or the arm has no process.
    """
    note = _read(home, service)
    ports: dict[str, int] = note.get("ports", {})
    weights = {STABLE: stable, CANARY: canary}
    if min(weights.values()) < 0 or not any(weights.values()):
        raise ValueError(f"{service}: weights must not be negative and not all 0, got {stable} and {canary}")
    if absent := [arm for arm, weight in weights.items() if weight and arm not in ports]:
        raise ValueError(f"{service}: no process of arm {absent[0]} is behind the gateway")
    write_service(home, service, ports, weights, hosts=note.get("hosts"), health_interval_s=note["health_interval_s"])


def read_weights(home: Path, service: str) -> dict[str, int]:
    return dict(_read(home, service).get("weights", {}))


def read_ports(home: Path, service: str) -> dict[str, int]:
    """Return where each arm of a service is reached now."""
    return dict(_read(home, service).get("ports", {}))


def remove_other_routes(home: Path, services: list[str]) -> None:
    """A folder that is gone must not keep its route."""
    for path in routes_dir(home).glob("*.yml"):
        if path.stem not in {SHARED, *services}:
            path.unlink()
            way_back(home, path.stem).unlink(missing_ok=True)


def _read(home: Path, service: str) -> dict[str, Any]:
    try:
        note: dict[str, Any] = json.loads(route_file(home, service).read_text())[NOTE]
    except (FileNotFoundError, KeyError, ValueError):
        return {}
    return note


def _write_route(home: Path, name: str, config: Mapping[str, Any]) -> None:
    routes_dir(home).mkdir(parents=True, exist_ok=True)
    # The temporary file lies outside of the watched folder.
    write_atomically(route_file(home, name), _text(config), beside=gateway_dir(home))


def _text(config: Mapping[str, Any]) -> str:
    return json.dumps(config, indent=2) + "\n"
