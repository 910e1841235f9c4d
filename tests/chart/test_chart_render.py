"""What the chart renders to: goldens, arms, weights."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from k8s.render import written

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]

SERVICES = ["credit", "fraud", "kyc"]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def container(deployment: Manifest) -> dict[str, Any]:
    """The one container of its pods."""
    only: dict[str, Any]
    (only,) = deployment["spec"]["template"]["spec"]["containers"]
    return only


def weights(manifests: list[Manifest]) -> dict[str, dict[str, int]]:
    """Path → backend → weight."""
    return {
        rule["matches"][0]["path"]["value"]: {ref["name"]: ref["weight"] for ref in rule["backendRefs"]}
        for route in of_kind(manifests, "HTTPRoute").values()
        for rule in route["spec"]["rules"]
    }


def expected_weights(stable: int, canary: int) -> dict[str, dict[str, int]]:
    return {
        f"/v1/{name}": {f"scoregate-{name}-stable": stable, f"scoregate-{name}-canary": canary} for name in SERVICES
    }


def without_weights(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_weights(below) for key, below in value.items() if key != "weight"}
    return [without_weights(below) for below in value] if isinstance(value, list) else value


def test_lints(helm: Helm, case: str) -> None:
    """Every case passes helm's own strict lint."""
    linted = helm(case, "--strict", verb="lint")

    assert linted.returncode == 0, linted.stdout + linted.stderr


def test_golden(rendered: dict[str, dict[str, str]], case: str) -> None:
    """What lies in k8s/rendered is what the chart renders now."""
    assert written(case) == rendered[case], "run python k8s/render.py and read the difference"


@pytest.mark.parametrize(
    ("split", "stable", "canary"), [("canary-10", 90, 10), ("canary-50", 50, 50), ("rollback", 100, 0)]
)
def test_weights(manifests: dict[str, list[Manifest]], split: str, stable: int, canary: int) -> None:
    """The route of each service splits its traffic between its two arms as the values say."""
    assert expected_weights(stable, canary) == weights(manifests[split])


def test_no_canary_no_backend(manifests: dict[str, list[Manifest]]) -> None:
    """Without a canary all traffic goes to stable, and nothing of a canary is there but its Service."""
    named = [(m["kind"], m["metadata"]["name"]) for m in manifests["default"]]
    of_canaries = {(kind, name) for kind, name in named if "canary" in name}

    assert {f"/v1/{name}": {f"scoregate-{name}-stable": 100} for name in SERVICES} == weights(manifests["default"])
    assert {("Service", f"scoregate-{name}-canary") for name in SERVICES} == of_canaries


def test_no_service_goes_with_a_canary(manifests: dict[str, list[Manifest]]) -> None:
    """What a route named a moment ago is there still: gateways answer 500 for a Service that they do not find."""
    with_canary, without = (of_kind(manifests[case], "Service") for case in ("canary-10", "default"))

    assert with_canary == without


def test_every_backend_has_pods(manifests: dict[str, list[Manifest]], case: str) -> None:
    """Whatever a route names is a Service, whose selector finds the pods of exactly one workload, or is Argo's."""
    services = of_kind(manifests[case], "Service")
    workloads = of_kind(manifests[case], "Deployment") | of_kind(manifests[case], "StatefulSet")
    pods = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads.values()]

    for backends in weights(manifests[case]).values():
        for name in backends:
            selector = services[name]["spec"].get("selector", {}).items()
            assert (case == "argo") == (not selector), name
            assert case == "argo" or 1 == sum(selector <= labels.items() for labels in pods), name


def test_rollback_is_a_weight_flip(manifests: dict[str, list[Manifest]]) -> None:
    """Between a canary and its rollback nothing differs but the weights: no pod restarts to bring traffic back."""
    assert manifests["canary-10"] != manifests["rollback"]
    assert without_weights(manifests["canary-10"]) == without_weights(manifests["rollback"])


def test_canary_leaves_stable_alone(manifests: dict[str, list[Manifest]]) -> None:
    """Starting a canary changes no Deployment that is there already."""
    with_canary = of_kind(manifests["canary-10"], "Deployment")

    for name, deployment in of_kind(manifests["default"], "Deployment").items():
        assert deployment == with_canary[name]


def test_arms_differ_in_image_or_model(manifests: dict[str, list[Manifest]]) -> None:
    """A canary takes from stable whatever it does not say itself."""
    deployments = of_kind(manifests["production"], "Deployment")
    stable, canary = (container(deployments[f"scoregate-fraud-{arm}"]) for arm in ("stable", "canary"))

    assert stable["image"] == canary["image"]
    assert {"name": "SCOREGATE_MODEL_DIR", "value": "/models/fraud"} in stable["env"]
    assert {"name": "SCOREGATE_MODEL_DIR", "value": "/models/fraud-2"} in canary["env"]


def test_canary_tag_wins_over_stable_digest(helm: Helm) -> None:
    """A canary's tag is not overruled by the digest that pins stable."""
    digest = "sha256:" + "a" * 64
    shown = helm(
        "minimal", "--show-only=templates/deployments.yaml",
        f"--set=services.fraud.image.digest={digest},services.fraud.canary.tag=0.2.0",
    )  # fmt: skip
    images = [container(deployment)["image"] for deployment in yaml.safe_load_all(shown.stdout)]

    assert [f"scoregate/fraud@{digest}", "scoregate/fraud:0.2.0"] == images


def test_hpa_owns_replicas(manifests: dict[str, list[Manifest]]) -> None:
    """Where an HPA is on, the Deployment has no `replicas` for an upgrade to fight over; elsewhere it has."""
    scalers = of_kind(manifests["production"], "HorizontalPodAutoscaler").values()
    scaled = {scaler["spec"]["scaleTargetRef"]["name"] for scaler in scalers}
    without = {n for n, d in of_kind(manifests["production"], "Deployment").items() if "replicas" not in d["spec"]}

    assert {"scoregate-fraud-stable", "scoregate-fraud-canary", "scoregate-kyc-stable"} == scaled == without


def test_selectors_hold_nothing_that_changes(manifests: dict[str, list[Manifest]], case: str) -> None:
    """A Deployment's selector is immutable, so neither version nor chart may be in it."""
    keys = {"app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/component"}

    for deployment in of_kind(manifests[case], "Deployment").values():
        own = set(deployment["spec"]["selector"]["matchLabels"]) - keys
        assert own in ({"scoregate.dev/arm"}, {"scoregate.dev/shard"}, set())


def test_config_change_restarts_pods(helm: Helm) -> None:
    """A changed setting changes the pod template, or running pods would never see it."""

    def checksum(*arguments: str) -> str:
        shown = helm("minimal", "--show-only=templates/deployments.yaml", *arguments)
        annotations: dict[str, str] = yaml.safe_load(shown.stdout)["spec"]["template"]["metadata"]["annotations"]
        return annotations["checksum/config"]

    assert checksum() == checksum()
    assert checksum() != checksum("--set=services.fraud.settings.deadline_ms=900")


def test_an_empty_entry_is_a_service(helm: Helm) -> None:
    """A fourth service is one empty entry, also where its folder's name has an underscore."""
    shown = helm("default", "--set-json=services.card_present={}")
    manifests = list(yaml.safe_load_all(shown.stdout))

    assert {"scoregate-card-present-stable": 100} == weights(manifests)["/v1/card_present"]
    made = container(of_kind(manifests, "Deployment")["scoregate-card-present-stable"])
    assert "card_present.service:Service" in made["command"]
    assert "scoregate/card_present:0.1.0" == made["image"]


def test_false_and_zero_override_defaults(manifests: dict[str, list[Manifest]]) -> None:
    """A service's `false` and `0` win over a default, which a plain merge would take for absent."""
    assert 3 == of_kind(manifests["production"], "Deployment")["scoregate-credit-stable"]["spec"]["replicas"]
    assert "0" == of_kind(manifests["production"], "ConfigMap")["scoregate-credit"]["data"]["SCOREGATE_TRACE_RATIO"]
