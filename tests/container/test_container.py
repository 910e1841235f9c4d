"""The image of a service: what is in it, how it runs, and what it answers with a real store beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import free_ports
from container import engine
from container.conftest import FRAUD
from scoregate import __version__
from scoregate.models.artefact import champion
from scoregate.settings import Settings
from stack.running import eventually


def test_the_service_scores_on_fresh_features(service: engine.Service) -> None:
    """From the published port to the store in the other container: the model answers, nothing stale or missing."""
    expected = (200, "model", {"stale": [], "missing": [], "supplied": [], "outside": []})

    def answered() -> tuple[int, str, dict[str, list[str]]]:
        response = service.post(service.fresh())
        answer = response.json()
        return response.status_code, answer["source"], answer["features"]

    # On a busy machine the worker may be held up for longer than features stay fresh.
    eventually(lambda: answered() == expected)


def test_it_is_ready_and_compared_with_the_registry(service: engine.Service) -> None:
    """Ready without a reservation: model, registry and store are all there."""
    response = service.get("/readyz?verbose")
    said = response.json()

    assert (200, "ok", []) == (response.status_code, said["status"], said["degraded"])


def test_metrics_are_there(service: engine.Service) -> None:
    """Counters are kept under a read-only root too."""
    service.post(service.fresh())
    response = service.get("/metrics")

    assert 200 == response.status_code
    assert 'scoregate_ready{arm="stable",service="fraud"} 1.0' in response.text


def test_it_runs_with_no_rights(service: engine.Service) -> None:
    """Not root, no capability, no way to get one; process 1 is the server itself."""
    status = service.sh("cat /proc/1/status")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    command = service.sh("tr '\\0' ' ' < /proc/1/cmdline")

    assert ("10001", "0" * 16, "1") == (found["Uid"].split()[0], found["CapEff"], found["NoNewPrivs"])
    assert "bentoml serve fraud.service:Service" in command


@pytest.mark.parametrize("folder", ["/", "/app/services/fraud", "/models/fraud", "/opt/venv", "/etc/scoregate"])
def test_it_can_write_nothing_of_what_it_is(service: engine.Service, folder: str) -> None:
    """The root is read-only, and so are model and keys."""
    assert "refused" == service.sh(f"touch {folder}/new 2>/dev/null && echo written || echo refused").strip()


def test_the_image_runs_as_nobody_without_being_told(images: None) -> None:
    """User, health check, version and licence are the image's own."""
    config = json.loads(engine.run("docker", "image", "inspect", FRAUD))[0]["Config"]
    label = "org.opencontainers.image."

    assert "10001:10001" == config["User"]
    assert "/readyz" in config["Healthcheck"]["Test"][-1]
    assert (__version__, "Apache-2.0") == (config["Labels"][label + "version"], config["Labels"][label + "licenses"])


@pytest.mark.parametrize("program", ["gcc", "cc", "g++", "ld", "as", "make", "pip", "pip3", "wheel"])
def test_the_image_has_no_tools_to_build_with(service: engine.Service, program: str) -> None:
    """Who gets in finds nothing to build or install with."""
    assert "none" == service.sh(f"command -v {program} || echo none").strip()


@pytest.mark.parametrize("module", ["pip", "setuptools", "feast", "xgboost", "pandas", "duckdb", "sklearn"])
def test_the_image_has_nothing_that_only_training_needs(service: engine.Service, module: str) -> None:
    """Neither the service's Python nor the system's below it can import it."""
    script = f"import importlib.util as u; print(u.find_spec({module!r}))"
    pythons = "python /usr/local/bin/python3 /usr/bin/python3"
    found = service.sh(f'for each in {pythons}; do ! command -v $each >/dev/null || $each -c "{script}"; done').split()

    # The service's own, and one of the other two: which of them depends on the base image.
    assert len(found) >= 2
    assert {"None"} == set(found)


def test_a_start_compiles_nothing(service: engine.Service) -> None:
    """All bytecode is in the image: a read-only root could not keep it, and every start would pay for it."""
    told = service.sh("python -v -c 'import fraud.service, scoregate.serving.door' 2>&1 | grep '^# code object from'")
    origins = [line.removeprefix("# code object from ").strip("'") for line in told.splitlines()]

    assert origins
    assert [] == [origin for origin in origins if origin.endswith(".py")]


def test_rules_answer_while_the_store_is_away(service: engine.Service) -> None:
    """Without the store: rules on the request alone, never the mildest outcome, still ready. Back again: the model."""
    mildest = service.get("/v1/fraud/model").json()["outcomes"][0]
    service.stop("valkey")
    try:
        response = service.post(service.fresh())
        ready = service.get("/readyz")
    finally:
        service.up("valkey")
    blind = response.json()

    assert (200, "fallback", 200) == (response.status_code, blind["source"], ready.status_code)
    assert mildest != blind["outcome"]
    eventually(lambda: service.post(service.fresh()).json()["source"] == "model")


def test_a_restart_keeps_the_ledger(service: engine.Service) -> None:
    """A request asked again after a restart is answered with what was decided then, byte for byte."""
    body = service.fresh()
    first = service.post(body)
    service.stop("fraud")
    service.up("fraud")
    again = service.post(body)

    assert first.content == again.content
    assert (False, "true") == ("x-decision-replayed" in first.headers, again.headers.get("x-decision-replayed"))


def test_sigterm_drains_and_ends_well(service: engine.Service) -> None:
    """On SIGTERM it says 'not ready', answers what still comes, and ends with exit code 0."""
    service.signal("fraud", "SIGTERM")
    try:
        eventually(lambda: service.get("/readyz").status_code == 503)
        late = service.post(service.fresh())
        eventually(lambda: not service.inspect("fraud")["State"]["Running"])
        state = service.inspect("fraud")["State"]
    finally:
        service.up("fraud")

    assert (200, 0, False) == (late.status_code, state["ExitCode"], state["OOMKilled"])


@pytest.fixture
def with_model_inside(service: engine.Service, home: Path, deployed: Path) -> Iterator[str]:
    """URL of a container whose image carries its model, made in a checkout whose home is the default one."""
    model = champion(Settings(home=home).models("fraud"))
    image = f"{FRAUD}:{model.name}"
    engine.build_with_model(image, "fraud", model)
    (port,) = free_ports(1)
    options = ["--read-only", "--tmpfs=/tmp", "--volume=/var/lib/scoregate", f"--publish=127.0.0.1:{port}:3000"]
    secrets = [
        f"--volume={deployed}/secrets:/etc/scoregate:ro",
        "--env=SCOREGATE_HASH_KEY_FILE=/etc/scoregate/hash.key",
    ]
    container = engine.run("docker", "run", "--detach", *options, *secrets, image).strip()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        engine.run("docker", "rm", "--force", "--volumes", container)
        engine.run("docker", "rmi", image)


def test_an_image_may_carry_its_model(with_model_inside: str, service: engine.Service) -> None:
    """With MODEL the image needs no mount: it serves the version that was put inside."""

    def version() -> str | None:
        try:
            return httpx.get(f"{with_model_inside}/readyz?verbose").json().get("version")
        except httpx.TransportError:
            return None

    mounted = service.get("/readyz?verbose").json()["version"]
    eventually(lambda: version() is not None)

    assert mounted == version()
