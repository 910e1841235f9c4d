"""What Traefik is told of one service: pure functions from ports and weights to its routes and arms.

To score one record is a route of its own, because its wait is shorter than that of all else. How long Traefik waits is
said by a service's transport, so that each route has services of its own, and each arm two health checks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scoregate.local.traefik import ALL, DECISIONS, HOST

NOTE = "scoregate"


def service_config(
    service: str,
    ports: Mapping[str, int],
    weights: Mapping[str, int],
    *,
    hosts: Mapping[str, Sequence[str]] | None = None,
    health_interval_s: float = 1.0,
) -> dict[str, Any]:
    """Route `/v1/<service>/` to its arms by weight; to the 503 page when no arm is healthy.

    `hosts`: of an arm that is one process or more on others than this machine, each on the arm's port.

    An arm of weight 0 is left out. In the file it would keep its health check, and once it is the only healthy one
    Traefik's round robin looks for a server among none and never returns.
    """
    hosts = hosts or {}
    urls = {arm: [f"http://{host}:{port}" for host in hosts.get(arm, (HOST,))] for arm, port in ports.items()}
    arms = {arm: (urls[arm], weights[arm]) for arm in ports if weights.get(arm, 0) > 0}
    path, decisions = f"/v1/{service}/", f"{service}-{DECISIONS}"
    return {
        # Traefik passes over it; gateway.py reads it back.
        NOTE: {
            "ports": dict(ports),
            "hosts": dict(hosts),
            "weights": {arm: weights.get(arm, 0) for arm in ports},
            "health_interval_s": health_interval_s,
        },
        "http": {
            "routers": {
                service: _router(f"PathPrefix(`{path}`)", service, 10, "strange"),
                **_traced(f"Path(`{path}score:batch`) || Path(`{path}events`)", f"{service}-posts", service),
                **_traced(f"Path(`{path}score`)", decisions, decisions),
            },
            "services": {
                **_arms(service, ALL, arms, health_interval_s),
                **_arms(decisions, DECISIONS, arms, health_interval_s, otherwise=f"{decisions}-unchecked"),
                **_unchecked(f"{decisions}-unchecked", DECISIONS, arms),
            },
        },
    }


def _router(rule: str, service: str, priority: int, *more: str) -> dict[str, Any]:
    middlewares = ["edge", *more]
    return {"entryPoints": ["web"], "rule": rule, "priority": priority, "middlewares": middlewares, "service": service}


def _traced(rule: str, name: str, service: str) -> dict[str, Any]:
    """Two ways to a service, for paths that hold nothing of a caller's: Traefik writes the path down in its span.

    Traefik would follow whatever a caller's trace says of sampling. Whoever brings a trace gets no span of the gateway,
    and as on every way without one the service is told not to believe the trace's flag.
    """
    return {
        name: {**_router(rule, service, 20), "observability": {"tracing": True}},
        f"{name}-strange": _router(f"({rule}) && HeaderRegexp(`Traceparent`, `.`)", service, 25, "strange"),
    }


def _arms(
    name: str,
    transport: str,
    arms: Mapping[str, tuple[Sequence[str], int]],
    health_interval_s: float,
    *,
    otherwise: str = "unavailable",
) -> dict[str, Any]:
    """Share what comes to `name` between the arms, URLs and weight of each; `otherwise` when none is healthy."""
    if not arms:
        return {name: {"failover": {"service": "unavailable", "fallback": "unavailable"}}}
    check = {
        "path": "/readyz",
        "interval": f"{health_interval_s:g}s",
        "unhealthyInterval": f"{health_interval_s / 2:g}s",
        "timeout": f"{health_interval_s:g}s",
    }
    return {
        name: {"failover": {"service": f"{name}-arms", "fallback": otherwise}},
        f"{name}-arms": _weighted(name, arms, {"healthCheck": {}}),
        **{f"{name}-{arm}": _servers(urls, transport, {"healthCheck": check}) for arm, (urls, _) in arms.items()},
    }


def _unchecked(name: str, transport: str, arms: Mapping[str, tuple[Sequence[str], int]]) -> dict[str, Any]:
    """Share between the arms whatever their health.

    A process that has too much to do is late to say that it is ready, too. If nobody else is there, it is still the one
    that decides what it can and refuses the rest in time; taken out, it would do neither.
    """
    if not arms:
        return {}
    servers = {f"{name}-{arm}": _servers(urls, transport, {}) for arm, (urls, _) in arms.items()}
    return {name: _weighted(name, arms, {}), **servers}


def _weighted(name: str, arms: Mapping[str, tuple[Sequence[str], int]], more: dict[str, Any]) -> dict[str, Any]:
    shares = [{"name": f"{name}-{arm}", "weight": weight} for arm, (_, weight) in arms.items()]
    return {"weighted": {**more, "services": shares}}


def _servers(urls: Sequence[str], transport: str, more: dict[str, Any]) -> dict[str, Any]:
    return {"loadBalancer": {"servers": [{"url": url} for url in urls], "serversTransport": transport, **more}}
