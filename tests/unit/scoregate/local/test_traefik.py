"""What Traefik is told."""

from __future__ import annotations

from pathlib import Path

from scoregate.local.arms import service_config
from scoregate.local.traefik import STABLE, GatewayLimits, Traces, shared_config, static_config

SERVICES_OWN = {"400", "401", "403", "404", "405", "409", "415", "422", "500", "503"}


def test_no_status_of_the_services_own_is_replaced() -> None:
    """A problem that carries the service's details must pass."""

    replaced = set(shared_config(problems_port=1)["http"]["middlewares"]["problems"]["errors"]["status"])

    assert set() == replaced & SERVICES_OWN


def test_problem_pages_see_no_key() -> None:
    """Of a refused request only its id goes to the pages, never its Authorization."""

    errors = shared_config(problems_port=1)["http"]["middlewares"]["problems"]["errors"]

    assert ["X-Request-Id"] == errors["errorRequestHeaders"]


def test_bodies_never_touch_the_disk() -> None:
    """What may be buffered at all is buffered in memory: bodies are personal data."""

    body = shared_config(problems_port=1, limits=GatewayLimits(max_body_bytes=77))["http"]["middlewares"]["body"]

    assert (77, 77) == (body["buffering"]["maxRequestBodyBytes"], body["buffering"]["memRequestBodyBytes"])


def test_a_retried_body_has_no_bound_of_its_own() -> None:
    """Traefik takes as much memory as the bound for each request; the buffering before it has bounded the body."""

    middlewares = shared_config(problems_port=1)["http"]["middlewares"]

    assert -1 == middlewares["again"]["retry"]["maxRequestBodyBytes"]
    chain = middlewares["edge"]["chain"]["middlewares"]
    assert chain.index("body") < chain.index("again")


def test_arm_without_weight_is_left_out() -> None:
    """An arm of weight 0 in the file can hang Traefik for good; its port and weight are kept in the note."""

    config = service_config("fraud", {"stable": 1, "canary": 2}, {"stable": 100, "canary": 0})

    assert "fraud-canary" not in config["http"]["services"]
    assert {"stable": 1, "canary": 2} == config["scoregate"]["ports"]


def test_service_without_arms_leads_to_the_503_page() -> None:
    """A weighted service of nothing would be refused by Traefik, and its route with it."""

    config = service_config("fraud", {}, {})

    assert "unavailable" == config["http"]["services"]["fraud"]["failover"]["service"]


def test_gateway_shows_nothing_of_its_own() -> None:
    """No API, no dashboard, no ping; metrics on a port of their own."""

    config = static_config(Path("/routes"), port=1, metrics_port=2)

    assert set() == {"api", "ping"} & set(config)
    assert "metrics" == config["metrics"]["prometheus"]["entryPoint"]


def test_traces_only_where_somebody_receives_them() -> None:
    """Without an endpoint nothing is traced; with one, spans go to its URL, or to its address over gRPC."""

    url = "http://127.0.0.1:4318/v1/traces"
    traced = static_config(Path("/routes"), port=1, traces=Traces(url, 0.5))
    by_grpc = static_config(Path("/routes"), port=1, traces=Traces("http://127.0.0.1:4317", 1.0, "grpc"))

    assert "tracing" not in static_config(Path("/routes"), port=1)
    assert {"http": {"endpoint": url}} == traced["tracing"]["otlp"]
    assert 0.5 == traced["tracing"]["sampleRate"]
    assert {"grpc": {"endpoint": "127.0.0.1:4317", "insecure": True}} == by_grpc["tracing"]["otlp"]


def test_only_paths_that_hold_nothing_of_a_callers_are_traced() -> None:
    """Traefik writes the path down in its span, and a path may name a decision, or somebody."""

    routers = service_config("fraud", {STABLE: 1}, {STABLE: 100})["http"]["routers"]
    traced = {name for name, router in routers.items() if router.get("observability", {}).get("tracing")}

    assert {"tracing": False} == static_config(Path("/routes"), port=1)["entryPoints"]["web"]["observability"]
    assert {"fraud-decisions", "fraud-posts"} == traced
    assert not any("PathPrefix" in routers[name]["rule"] for name in traced)


def test_whoever_brings_a_trace_has_no_say_in_ours() -> None:
    """Traefik would follow the caller's flag: such a request goes a way without a span, where it is told apart."""

    routers = service_config("fraud", {STABLE: 1}, {STABLE: 100})["http"]["routers"]

    for name in ("fraud-decisions", "fraud-posts"):
        strange = routers[f"{name}-strange"]
        assert routers[name]["rule"] in strange["rule"]
        assert strange["priority"] > routers[name]["priority"]
    untraced = [router for router in routers.values() if "observability" not in router]
    assert [["edge", "strange"]] * 3 == [router["middlewares"] for router in untraced]
