"""Argo Rollouts on our verdict: a canary that answers everything, and answers it wrong, is taken back by itself."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from cluster import cluster
from cluster.cluster import FOLDER, Release, get, kubectl
from cluster.load import load
from cluster.mispriced import mispriced
from container import engine
from scoregate import __version__
from scoregate.settings import Settings
from stack.running import eventually

PATIENCE_S = 600.0
PROMETHEUS, WRONG = "scoregate-test/prometheus:v1", "scoregate-test/credit:v3"
VALUES = FOLDER / "argo.yaml"
KINDS = ("owner", "rent", "parents", "priv", "other")


@dataclass(frozen=True)
class Crowd:
    """Somebody else each time, who brings what is to be known of them; a person counts once."""

    release: Release

    def post(self, client: httpx.Client) -> httpx.Response:
        facts = {
            "home": random.choice(KINDS),
            "records": random.random() < 0.1,
            "job": "fixed",
            "expenses": random.randint(35, 70),
            "income": random.randint(120, 300),
            "assets": random.randint(2_000, 20_000),
            "debt": 0,
        }
        who = {"applicant_id": f"app_{uuid.uuid4().hex[:12]}", "term_months": random.choice([24, 36, 48])}
        return self.release.ask({**self.release.fresh(), **who, "applicant_facts": facts}, client)


@pytest.fixture(scope="module")
def prometheus(prepared: str) -> None:
    """A Prometheus in the release's namespace."""
    engine.build_part("prometheus", PROMETHEUS)
    cluster.load(PROMETHEUS)
    kubectl("apply", "--filename", str(FOLDER / "prometheus.yaml"))
    kubectl("rollout", "status", "deployment/prometheus", "--timeout=5m")


@pytest.fixture(scope="module")
def wrong(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An image with the wrong model inside."""
    model = mispriced(settings.models("credit"), tmp_path_factory.mktemp("models"))
    engine.build_with_model(WRONG, "credit", model, "--build-arg", f"VERSION={__version__}")
    cluster.load(WRONG)


@pytest.fixture(scope="module")
def argo(prometheus: None, wrong: None, release: Release) -> Iterator[Release]:
    """The release with a Rollout in place of its Deployments."""
    release.change("--values", str(VALUES))
    eventually(lambda: phase() == "Healthy", PATIENCE_S)
    kubectl("rollout", "status", "deployment/scoregate-credit-judge", "--timeout=5m")
    yield release
    release.upgrade()
    # The next test must not take pods that are on their way for those of the release.
    eventually(lambda: not get("pods", "--selector=rollouts-pod-template-hash")["items"], PATIENCE_S)


def rollout() -> dict[str, Any]:
    found: dict[str, Any] = get("rollout", "scoregate-credit").get("status", {})
    return found


def phase() -> str:
    return str(rollout().get("phase"))


def reach_the_judge() -> None:
    """Argo's controller runs on this cluster's node, where no Service's name is resolved: give it the address."""
    address = get("service", "scoregate-credit-judge")["spec"]["clusterIP"]
    at = "/spec/metrics/0/provider/web/url"
    (metric,) = get("analysistemplate", "scoregate-credit-judge")["spec"]["metrics"]
    url = metric["provider"]["web"]["url"].replace(f"scoregate-credit-judge.{cluster.NAMESPACE}", address)
    patch = json.dumps([{"op": "replace", "path": at, "value": url}])
    kubectl("patch", "analysistemplate", "scoregate-credit-judge", "--type=json", f"--patch={patch}")


def test_the_evidence_is_told(argo: Release) -> None:
    """What the judge answers Argo has a gate for each question."""
    url = f"http://127.0.0.1:9000/credit/verdict?canary={Path(__file__).stem}"
    script = f"import urllib.request as u; print(u.urlopen({url!r}).read().decode())"
    said = json.loads(argo.sh(script, "deployment/scoregate-credit-judge"))

    assert said["verdict"] == "hold"
    assert {"errors", "outcomes"} <= {gate["gate"] for gate in said["gates"]}


def test_a_wrong_canary_is_taken_back_by_argo(argo: Release) -> None:
    """No verb and no person: pods of the wrong model get requests, the verdict turns, and stable has all again."""
    with load(Crowd(argo)) as seen:
        argo.change("--values", str(VALUES), "--set=defaults.canary.tag=v3")
        reach_the_judge()
        eventually(lambda: seen.arms()["canary"] > 0, PATIENCE_S)
        eventually(lambda: phase() == "Degraded", PATIENCE_S)
        eventually(lambda: seen.are_all_of("stable"), PATIENCE_S)
    (run,) = get("analysisruns")["items"]
    (result,) = run["status"]["metricResults"]
    looks = [json.loads(look["value"]) for look in result["measurements"] if "value" in look]
    print(f"Argo saw {looks} and said: {rollout()['message']}; the canary gave {seen.arms()['canary']} answers")

    assert [] == seen.failed
    assert looks[-1] == "rollback"
    assert rollout()["abort"]
    assert "aborted" in rollout()["message"]
