"""What runs around an install and an upgrade, and never around a rollback: features, the canaries' step, the demo."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from helm.scoregate.files import canary_step

from scoregate.training import commands

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    (found,) = (m for m in manifests if (m["kind"], m["metadata"]["name"]) == (kind, name))
    return found


@pytest.fixture(scope="module")
def with_step(helm: Helm) -> list[Manifest]:
    """Canaries with a share, as `helm upgrade` renders them."""
    shown = helm("canary-10", "--skip-tests")
    assert shown.returncode == 0, shown.stderr
    return list(yaml.safe_load_all(shown.stdout))


def test_no_hook_delays_a_rollback(manifests: dict[str, list[Manifest]], with_step: list[Manifest], case: str) -> None:
    """Hooks run around install and upgrade alone."""
    hooks = {
        event
        for manifest in manifests[case] + with_step
        for event in manifest["metadata"].get("annotations", {}).get("helm.sh/hook", "").split(",")
    }

    assert hooks <= {"", "pre-install", "pre-upgrade", "post-install", "post-upgrade"}


def test_jobs_before_an_install_need_nothing_of_the_chart(manifests: dict[str, list[Manifest]]) -> None:
    """Their account comes before them, and their Secret is the owner's, which no service holds."""
    account = named(manifests["demo"], "ServiceAccount", "scoregate-before")["metadata"]
    for name in ("scoregate-migration", "scoregate-features"):
        job = named(manifests["demo"], "Job", name)
        spec = job["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        secrets = {e["valueFrom"]["secretKeyRef"]["name"] for e in container["env"] if "valueFrom" in e}
        assert account["name"] == spec["serviceAccountName"]
        assert {"scoregate-ledger-owner"} == secrets
        weights = [int(m["annotations"]["helm.sh/hook-weight"]) for m in (account, job["metadata"])]
        assert weights == sorted(weights) and weights[0] < weights[1]
    for workload in (m for m in manifests["demo"] if m["kind"] == "Deployment"):
        assert "scoregate-ledger-owner" not in json.dumps(workload)


def test_the_registry_is_the_same_for_all(manifests: dict[str, list[Manifest]]) -> None:
    """Services, worker and the Job that applies the features read one database, and may reach it."""
    project = named(manifests["demo"], "ConfigMap", "scoregate-fraud")["data"]["SCOREGATE_PROJECT"]
    apply = named(manifests["demo"], "Job", "scoregate-features")["spec"]["template"]["spec"]["containers"][0]
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())

    assert parser.parse_args(apply["command"][3:]).run
    assert {"name": "SCOREGATE_PROJECT", "value": project} in apply["env"]
    for workload in (m for m in manifests["demo"] if m["kind"] == "Deployment"):
        given = {e["name"]: e for e in workload["spec"]["template"]["spec"]["containers"][0]["env"]}
        assert "scoregate-ledger" == given["SCOREGATE_REGISTRY_URL"]["valueFrom"]["secretKeyRef"]["name"]
    for policy in ("scoregate-scoring", "scoregate-worker", "scoregate-features"):
        egress = named(manifests["demo"], "NetworkPolicy", policy)["spec"]["egress"]
        assert 5432 in {port["port"] for rule in egress for port in rule["ports"]}


def test_the_step_alone_gives_a_canary_its_share(
    with_step: list[Manifest], manifests: dict[str, list[Manifest]]
) -> None:
    """An upgrade leaves everything with stable; the step then writes the route that the values ask for."""
    job = named(with_step, "Job", "scoregate-rollout")
    asked = json.loads(job["spec"]["template"]["spec"]["containers"][0]["command"][4])

    assert ["scoregate-credit-canary", "scoregate-fraud-canary", "scoregate-kyc-canary"] == [a["canary"] for a in asked]
    for each in asked:
        name = each["route"]["metadata"]["name"]
        upgraded = named(with_step, "HTTPRoute", name)["spec"]["rules"][0]["backendRefs"]
        assert named(manifests["canary-10"], "HTTPRoute", name) == each["route"]
        assert named(manifests["rollback"], "HTTPRoute", name)["spec"]["rules"][0]["backendRefs"] == upgraded


def test_the_step_may_do_what_it_does_and_no_more(with_step: list[Manifest]) -> None:
    """Its rights name each canary and each route; the one pod with a token may reach the API alone."""
    rules = {r["resources"][0]: r for r in named(with_step, "Role", "scoregate-rollout")["rules"]}
    pod = named(with_step, "Job", "scoregate-rollout")["spec"]["template"]["spec"]
    egress = named(with_step, "NetworkPolicy", "scoregate-rollout")["spec"]["egress"]

    assert {"scoregate-credit", "scoregate-fraud", "scoregate-kyc"} == set(rules["httproutes"]["resourceNames"])
    assert ["get", "patch"] == rules["httproutes"]["verbs"] and ["get"] == rules["deployments"]["verbs"]
    assert {"deployments", "endpointslices", "httproutes"} == set(rules)
    assert "scoregate-rollout" == pod["serviceAccountName"] and not pod["automountServiceAccountToken"]
    assert [[{"port": 443}, {"port": 6443}]] == [rule["ports"] for rule in egress]


@pytest.mark.parametrize(
    ("status", "known", "ready"),
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, 2, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, 2, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "availableReplicas": 2}, 2, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}, 2, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}, 1, False),
        ({}, 0, False),
    ],
)
def test_a_canary_is_ready_when_all_of_it_is(status: dict[str, int], known: int, ready: bool) -> None:
    """Every pod is of the newest template and available, none of an older one is left, and the Service knows them."""
    deployment = {"metadata": {"generation": 2}, "spec": {"replicas": 2}, "status": status}
    endpoints = [{"conditions": {"ready": True}}] * known + [{"conditions": {"ready": False}}]

    assert ready == canary_step.is_ready(deployment, [{"endpoints": endpoints}, {"endpoints": None}])


def test_the_route_stays_its_owners() -> None:
    """Who applied it owns its weights afterwards too, so that the next upgrade meets no conflict."""
    managers = [{"manager": "traefik", "operation": "Update"}, {"manager": "helm-controller", "operation": "Apply"}]

    assert "helm-controller" == canary_step.owner({"metadata": {"managedFields": managers}})
    assert "helm" == canary_step.owner({"metadata": {}})


def test_the_demo_asks_for_its_key(manifests: dict[str, list[Manifest]]) -> None:
    """Each service is told its own examples by its own image, with the key that the Secret holds."""
    for service in ("credit", "fraud", "kyc"):
        (container,) = named(manifests["demo"], "Job", f"scoregate-{service}-demo")["spec"]["template"]["spec"][
            "containers"
        ]
        assert f"scoregate/{service}:0.1.0" == container["image"]
        assert [service, f"http://scoregate-{service}-stable", "/etc/scoregate/demo/demo.key"] == container["command"][
            3:6
        ]
