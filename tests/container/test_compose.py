"""`docker compose up`: decisions, a canary and the way back, a killed container, and what a restart keeps."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pytest_docker.plugin import get_docker_services

from cluster.load import Answer, Seen, load
from conftest import free_ports
from container import engine
from container.composed import SERVICE, Composed
from container.conftest import FEATURES, FOLDER, PARTS, WORKER
from fraud.features import FEATURES as NAMES
from otlp import from_json
from scoregate import catalog
from stack.running import eventually

FRESH: dict[str, list[str]] = {"stale": [], "missing": []}
ASKED = 100
IMAGES = {
    **{f"{name.upper()}_IMAGE": image for name, image in PARTS.items()},
    **{f"{name.upper()}_IMAGE": f"scoregate-test/{name}:inside" for name in catalog.services()},
    f"{SERVICE.upper()}_CANARY_IMAGE": f"scoregate-test/{SERVICE}:inside",
    "WORKER_IMAGE": f"{WORKER}:inside",
    "FEATURES_IMAGE": f"{FEATURES}:inside",
}
PATIENT = {
    # What is tried is what is answered, not how soon: a slow machine must not fall down the ladder.
    "SCOREGATE_DEADLINE_MS": "20000",
    "SCOREGATE_BATCH_DEADLINE_MS": "60000",
    "SCOREGATE_STORE_TIMEOUT_MS": "5000",
}


@pytest.fixture(scope="module")
def checkout(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in which models were trained, and that was told what it has to be."""
    folder = tmp_path_factory.mktemp("checkout")
    engine.checkout(folder)
    shutil.copytree(home / "models", folder / ".scoregate" / "models")
    env = {name: value for name, value in os.environ.items() if not name.startswith("SCOREGATE_")}
    engine.run(
        sys.executable, str(folder / "compose" / "prepare.py"), env={**env, "PYTHONPATH": str(folder / "services")}
    )
    return folder


@pytest.fixture(scope="module")
def parts() -> dict[str, str]:
    """Images of what others make; the Collector is the one that OTELCOL names, or else that of the registry."""
    for name, image in PARTS.items():
        engine.build_part(name, image)
    program = os.environ.get("OTELCOL")
    if program is None:
        return {}
    context, name = os.path.split(program)
    file = str(FOLDER / "collector.Dockerfile")
    engine.build("scoregate-test/collector", "--file", file, "--build-arg", f"PROGRAM={name}", context)
    return {"OTELCOL_IMAGE": "scoregate-test/collector"}


@pytest.fixture(scope="module")
def stack(checkout: Path, parts: dict[str, str]) -> Iterator[Composed]:
    """The stack, healthy. A test that changes something changes it back."""
    (port,) = free_ports(1)
    values = {**IMAGES, **parts, **PATIENT, "SCOREGATE_GATEWAY_PORT": port}
    more = checkout / "values.env"
    more.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    command = f'docker compose --progress quiet --project-directory "{checkout}"'
    command += f' --env-file "{checkout / ".env"}" --env-file "{more}"'
    project = f"scoregate-test-{os.getpid()}"
    cleanup = ["--profile canary down --volumes --timeout 10"]
    file = str(checkout / "compose.yaml")
    key = (checkout / ".scoregate" / "demo.key").read_text().strip()
    # Nothing by way of setup: what fails there is not cleaned up.
    with get_docker_services(command, file, project, [], cleanup) as services:
        running = Composed(services._docker_compose, project, f"http://127.0.0.1:{port}", key)
        running.compose.execute("build")
        running.up()
        yield running


def unexplained(seen: Seen) -> list[Answer]:
    """Failures that are not the last rung of the ladder, which refuses where a decision could not be made durable."""
    return [each for each in seen.failed if not (each.status == 503 and "/ledger-unavailable" in each.said)]


def is_fresh(answer: dict[str, Any]) -> bool:
    return answer["source"] == "model" and FRESH.items() <= answer["features"].items()


@pytest.mark.parametrize("service", catalog.services())
def test_every_service_decides(stack: Composed, service: str) -> None:
    """From the gateway to the model, on the features that the demo's job has told: nothing stale, nothing missing."""
    response = stack.ask(service)

    assert 200 == response.status_code
    # On a busy machine the worker may be held up for longer than features stay fresh.
    eventually(lambda: is_fresh(stack.ask(service).json()))


def test_nothing_is_more_than_it_has_to_be(stack: Composed) -> None:
    """Every container: not root, nothing to write to but volumes, no capability, no way to get one."""
    found = {
        each["Name"]: (each["Config"]["User"].split(":")[0] not in {"", "0", "root"}, each["HostConfig"])
        for each in stack.containers()
    }
    unsafe = [
        name
        for name, (is_other, host) in found.items()
        if not (is_other and host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"])
        or "no-new-privileges:true" not in host["SecurityOpt"]
    ]

    assert len(found) > 12
    assert [] == unsafe


def test_the_gateway_alone_is_published(stack: Composed) -> None:
    """On this machine's own address; whoever is on its network reaches nothing else."""
    published = {
        each["Config"]["Labels"]["com.docker.compose.service"]: {
            binding["HostIp"] for bindings in each["HostConfig"]["PortBindings"].values() for binding in bindings
        }
        for each in stack.containers()
        if each["HostConfig"]["PortBindings"]
    }

    assert {"gateway": {"127.0.0.1"}} == published


def test_what_the_gateway_refuses_is_a_problem(stack: Composed) -> None:
    """A path that is nobody's is answered in our words."""
    response = stack.get("/v1/nobody/score")

    assert (404, "application/problem+json") == (response.status_code, response.headers["content-type"])


def test_a_canary_gets_its_share_and_goes_back(stack: Composed) -> None:
    """Requests are shared as `weigh` says, and not at all after it said 0; who asked meanwhile was answered."""
    stack.up(f"{SERVICE}-canary")
    try:
        with httpx.Client() as client, load(stack) as seen:
            stack.weigh(20)
            eventually(lambda: stack.ask(client=client).json()["arm"] == "canary")
            weighed = Counter(stack.ask(client=client).json()["arm"] for _ in range(ASKED))
            stack.weigh(0)
            eventually(lambda: "canary" not in {stack.ask(client=client).json()["arm"] for _ in range(10)})
            after = Counter(stack.ask(client=client).json()["arm"] for _ in range(ASKED // 2))
    finally:
        stack.compose.execute(f"rm --stop --force {SERVICE}-canary")

    # Others ask too, so that this client's own share is not exact.
    assert ASKED * 0.1 <= weighed["canary"] <= ASKED * 0.3
    assert {"stable": ASKED // 2} == after
    assert [] == unexplained(seen)


def test_a_killed_container_fails_nobody(stack: Composed) -> None:
    """What it had in hand is asked again of the other, which goes on alone until it is back."""
    with load(stack) as seen:
        eventually(lambda: seen.arms()["stable"] > 20)
        engine.run("docker", "kill", f"{stack.project}-{SERVICE}-1")
        answered = seen.arms()["stable"]
        eventually(lambda: seen.arms()["stable"] > answered + ASKED)
    stack.up(SERVICE)

    assert [] == unexplained(seen)


def test_prometheus_sees_everybody(stack: Composed) -> None:
    """Two of each service, worker and gateway are scraped; their decisions are counted, and the rules are evaluated."""

    def values(query: str, label: str) -> dict[str, float]:
        found = stack.prometheus(f"query?query={query}")["result"]
        return {each["metric"][label]: float(each["value"][1]) for each in found}

    expected = {"services": 2.0 * len(catalog.services()), "worker": 1.0, "gateway": 1.0, "prometheus": 1.0}
    eventually(lambda: values("sum%20by(job)(up)", "job") == expected)
    for service in catalog.services():
        stack.ask(service)
    decisions = "sum%20by(service)(scoregate_decisions_total)"
    eventually(lambda: all(values(decisions, "service").get(name, 0) > 0 for name in catalog.services()))

    assert {"scoregate-slos", "scoregate-burn"} <= {group["name"] for group in stack.prometheus("rules")["groups"]}


def test_a_fallback_is_traced(stack: Composed) -> None:
    """Without the store rules answer, and the Collector keeps the trace, from the gateway to the service."""
    stack.compose.execute("stop --timeout 30 valkey")
    try:
        blind = stack.ask().json()
    finally:
        stack.up("valkey")

    def senders() -> set[str]:
        spans = [span for request in stack.traces() for span in from_json(request)]
        kept = {span.trace_id for span in spans if span.attributes.get("scoregate.decision_id") == blind["decision_id"]}
        return {span.service for span in spans if span.trace_id in kept}

    assert "fallback" == blind["source"]
    eventually(lambda: senders() == {"gateway", SERVICE})
    eventually(lambda: is_fresh(stack.ask().json()))


def test_a_restart_of_everything_keeps_everything(stack: Composed) -> None:
    """After `down` and `up` an earlier decision is found, and the next one counts those before."""

    def counted(answer: dict[str, Any]) -> float:
        shown = engine.run(
            *("docker", "exec", f"{stack.project}-{SERVICE}-1"),
            *("python", "-m", "scoregate", "ledger", "show", answer["decision_id"]),
        )
        named = dict(zip(NAMES, json.loads(shown)["vector"].values(), strict=True))
        return float(named["account_count_30d"] or 0)

    first = stack.ask().json()
    eventually(lambda: counted(stack.ask().json()) > counted(first))
    before = counted(stack.ask().json())
    stack.compose.execute("down --timeout 30")
    stack.up()
    found = stack.get(f"/v1/{SERVICE}/decisions/{first['decision_id']}")

    assert (200, first["decision_id"]) == (found.status_code, found.json()["decision_id"])
    eventually(lambda: is_fresh(stack.ask().json()))
    assert counted(stack.ask().json()) >= before
