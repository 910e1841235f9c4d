"""What is written for a gateway in a container."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from scoregate.errors import ScoregateError
from scoregate.local import beside, gateway
from scoregate.local.routes import gateway_dir, route_file
from scoregate.settings import Settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path))
    places = beside.hosts("fraud", "p-{service}-{number}", 2, "{service}-canary")
    gateway.write_service(tmp_path, "fraud", dict.fromkeys(places, beside.SERVICE), hosts=places)
    return tmp_path


def urls(home: Path, name: str) -> list[str]:
    services = json.loads(route_file(home, "fraud").read_text())["http"]["services"]
    return [server["url"] for server in services[name]["loadBalancer"]["servers"]]


def weigh(percent: int) -> int:
    return beside._weigh(Namespace(service="fraud", canary=percent))


def test_every_replica_is_a_server(home: Path) -> None:
    """Each has a health check of its own, and what one had in hand is asked again of another."""

    assert ["http://p-fraud-1:3000", "http://p-fraud-2:3000"] == urls(home, "fraud-stable")


def test_a_weight_keeps_the_places(home: Path) -> None:
    """Whoever changes a share knows nothing of where the arms are."""
    weigh(10)

    assert {"stable": 90, "canary": 10} == gateway.read_weights(home, "fraud")
    assert ["http://fraud-canary:3000"] == urls(home, "fraud-canary")


def test_zero_is_the_way_back_and_forth(home: Path) -> None:
    """Nothing is left of the canary in the route, and it can be given a share again."""
    weigh(10)
    weigh(0)
    back = gateway.read_weights(home, "fraud")
    weigh(20)

    assert {"stable": 100, "canary": 0} == back
    assert {"stable": 80, "canary": 20} == gateway.read_weights(home, "fraud")


@pytest.mark.parametrize("percent", [-1, 101])
def test_no_share_is_refused(home: Path, percent: int) -> None:
    """In one sentence, and the route stays."""
    with pytest.raises(ScoregateError, match="negative"):
        weigh(percent)

    assert {"stable": 100, "canary": 0} == gateway.read_weights(home, "fraud")


def test_it_is_reached_from_other_containers(home: Path) -> None:
    """The gateway listens to all that reach its container, and finds the pages by the name of the one beside it."""
    beside._write(Settings(), "beside")
    static = json.loads((gateway_dir(home) / "traefik.yml").read_text())
    shared = json.loads(route_file(home, "_shared").read_text())

    assert {"0.0.0.0:8080", "0.0.0.0:8081"} == {each["address"] for each in static["entryPoints"].values()}
    assert "http://beside:8082" == shared["http"]["services"]["problems"]["loadBalancer"]["servers"][0]["url"]
