"""Argo Rollouts by the same values: what it is told fits what is deployed, and what gives the verdict."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from scoregate.rollout import commands
from scoregate.rollout.verdict import Action

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
SERVED = ("--api-versions=argoproj.io/v1alpha1/Rollout", "--api-versions=monitoring.coreos.com/v1")
ARM = "scoregate.dev/arm"


def of(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


@pytest.fixture
def argo(manifests: dict[str, list[Manifest]]) -> list[Manifest]:
    return manifests["argo"]


@pytest.fixture
def changed(helm: Helm) -> Callable[[str], list[Manifest]]:
    """What the case renders with other values."""

    def render(values: str) -> list[Manifest]:
        shown = helm("argo", *SERVED, "--skip-tests", f"--set={values}")
        assert shown.returncode == 0, shown.stderr
        return list(yaml.safe_load_all(shown.stdout))

    return render


def test_one_rollout_per_service(argo: list[Manifest]) -> None:
    """It has the canary's image where one is named, and stable's where not; no Deployment starts the same pods."""
    images = {n: m["spec"]["template"]["spec"]["containers"][0]["image"] for n, m in of(argo, "Rollout").items()}

    assert {
        "scoregate-credit": "scoregate/credit:0.1.0",
        "scoregate-fraud": "scoregate/fraud:0.1.1",
        "scoregate-kyc": "scoregate/kyc:0.1.0",
    } == images
    assert {"scoregate-worker-0", *(f"{name}-judge" for name in images)} == set(of(argo, "Deployment"))


def test_to_make_a_canary_stable_changes_no_pod(argo: list[Manifest], changed: Callable[[str], list[Manifest]]) -> None:
    """What Argo has promoted becomes stable in the values too, without another rollout."""
    promoted = changed("services.fraud.image.tag=0.1.1,services.fraud.canary.tag=")
    templates = [of(each, "Rollout")["scoregate-fraud"]["spec"]["template"] for each in (argo, promoted)]

    assert templates[0] == templates[1]


def test_to_take_a_canary_away_is_a_rollback(argo: list[Manifest], changed: Callable[[str], list[Manifest]]) -> None:
    """Only the image is the canary's: without it Argo meets the template that it knows as stable, and goes back."""
    without = changed("services.fraud.canary.tag=")
    pods = [of(each, "Rollout")["scoregate-fraud"]["spec"]["template"]["spec"] for each in (argo, without)]
    images = [pod["containers"][0]["image"] for pod in pods]
    rest = [{**pod, "containers": [{**pod["containers"][0], "image": ""}]} for pod in pods]

    assert ["scoregate/fraud:0.1.1", "scoregate/fraud:0.1.0"] == images
    assert rest[0] == rest[1]


def test_each_step_is_judged_anew(argo: list[Manifest]) -> None:
    """A share, then the verdict on it, under an id that no other step and no other canary has."""
    steps = of(argo, "Rollout")["scoregate-fraud"]["spec"]["strategy"]["canary"]["steps"]
    judged = [{a["name"]: a.get("value", a.get("valueFrom")) for a in step["analysis"]["args"]} for step in steps[1::2]]

    assert [{"setWeight": 10}, {"setWeight": 50}] == steps[::2]
    assert [{"canary": {"podTemplateHashValue": "Latest"}, "percent": p} for p in ("10", "50")] == judged
    assert {"scoregate-fraud-judge"} == {t["templateName"] for s in steps[1::2] for t in s["analysis"]["templates"]}


def test_the_verdict_is_asked_where_it_is_given(argo: list[Manifest]) -> None:
    """The address is that of a Service whose pods serve it; promote, and nothing else, lets a canary go on."""
    (metric,) = of(argo, "AnalysisTemplate")["scoregate-fraud-judge"]["spec"]["metrics"]
    asked = urlsplit(metric["provider"]["web"]["url"])
    service = of(argo, "Service")["scoregate-fraud-judge"]["spec"]
    template = of(argo, "Deployment")["scoregate-fraud-judge"]["spec"]["template"]
    container = template["spec"]["containers"][0]
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    taken = parser.parse_args(container["command"][3:])

    assert ("scoregate-fraud-judge.scoregate", "/fraud/verdict") == (asked.netloc, asked.path)
    assert "canary={{args.canary}}-{{args.percent}}" == asked.query
    assert service["selector"].items() <= template["metadata"]["labels"].items()
    assert (taken.port, taken.namespace) == (container["ports"][0]["containerPort"], "scoregate")
    assert f'result == "{Action.PROMOTE.value}"' == metric["successCondition"]
    assert f'result == "{Action.ROLLBACK.value}"' == metric["failureCondition"]
    assert (1, 0) == (metric["consecutiveSuccessLimit"], metric["failureLimit"])


def test_nobody_is_rolled_back_because_nobody_knows(argo: list[Manifest]) -> None:
    """To hold, and not to be able to ask, are borne for as long as a step may take, which must have an end."""
    (metric,) = of(argo, "AnalysisTemplate")["scoregate-fraud-judge"]["spec"]["metrics"]
    looks = 86_400 // 30

    assert "30s" == metric["interval"]
    assert looks == metric["count"] == metric["inconclusiveLimit"] == metric["consecutiveErrorLimit"]


def test_a_pod_follows_its_label(argo: list[Manifest]) -> None:
    """Argo writes the arm onto pods, and may write another one later: the process reads it from a file."""
    rollout = of(argo, "Rollout")["scoregate-fraud"]["spec"]
    container, canary = rollout["template"]["spec"]["containers"][0], rollout["strategy"]["canary"]
    env = {entry["name"]: entry.get("value") for entry in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    (volume,) = [each for each in rollout["template"]["spec"]["volumes"] if "downwardAPI" in each]
    (item,) = volume["downwardAPI"]["items"]

    assert ("stable", "canary") == tuple(canary[f"{arm}Metadata"]["labels"][ARM] for arm in ("stable", "canary"))
    assert ARM not in rollout["template"]["metadata"]["labels"]
    assert f"metadata.labels['{ARM}']" == item["fieldRef"]["fieldPath"]
    assert f"{mounts[volume['name']]}/{item['path']}" == env["SCOREGATE_ARM_FILE"]
    assert "SCOREGATE_ARM" not in env


def test_argo_owns_what_it_changes(argo: list[Manifest]) -> None:
    """It weighs the release's route between Services whose selectors nobody else applies; stable keeps its size."""
    canary = of(argo, "Rollout")["scoregate-fraud"]["spec"]["strategy"]["canary"]
    (plugin,) = canary["trafficRouting"]["plugins"].items()
    rule = of(argo, "HTTPRoute")["scoregate-fraud"]["spec"]["rules"][0]

    # The only fields that the plugin needs; it takes others for other kinds of routes.
    assert ("argoproj-labs/gatewayAPI", {"httpRoute": "scoregate-fraud", "namespace": "scoregate"}) == plugin
    assert {canary["stableService"]: 100, canary["canaryService"]: 0} == {
        ref["name"]: ref["weight"] for ref in rule["backendRefs"]
    }
    for name in (canary["stableService"], canary["canaryService"]):
        assert "selector" not in of(argo, "Service")[name]["spec"]
    assert not canary["dynamicStableScale"]
    grace_s = of(argo, "Rollout")["scoregate-fraud"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace_s == canary["scaleDownDelaySeconds"] == canary["abortScaleDownDelaySeconds"]


def test_who_scales_scales_the_rollout(argo: list[Manifest]) -> None:
    """An autoscaler owns the number of its pods; stable's and the canary's follow from it."""
    (scaler,) = of(argo, "HorizontalPodAutoscaler").values()

    assert ("Rollout", "scoregate-kyc") == tuple(scaler["spec"]["scaleTargetRef"][key] for key in ("kind", "name"))
    assert "replicas" not in of(argo, "Rollout")["scoregate-kyc"]["spec"]


def test_no_pod_is_counted_twice(argo: list[Manifest]) -> None:
    """Between canaries both Services have the same pods, and only that of their own arm is scraped."""
    (relabeling,) = of(argo, "ServiceMonitor")["scoregate-services"]["spec"]["endpoints"][0]["relabelings"]

    assert ("keep", "stable;stable|canary;canary") == (relabeling["action"], relabeling["regex"])


def test_a_pod_that_lost_its_label_may_still_answer(manifests: dict[str, list[Manifest]], case: str) -> None:
    """Argo takes the arm from pods that go: what lets them be reached asks for the service alone."""
    policies = of(manifests[case], "NetworkPolicy")
    selectors = [
        policies["scoregate-scoring"]["spec"]["podSelector"],
        policies["scoregate-helm-test"]["spec"]["egress"][-1]["to"][0]["podSelector"],
    ]

    for selector in selectors:
        ((expression,),) = [selector["matchExpressions"]]
        assert {"app.kubernetes.io/component"} == {expression["key"]}
        assert set(expression["values"]) <= {"credit", "fraud", "kyc"}


def test_without_a_plugin_pods_are_shares(changed: Callable[[str], list[Manifest]]) -> None:
    """All pods are behind one Service, which the chart selects, and Argo weighs by their number."""
    manifests = changed("rollout.argo.plugin=")
    canary = of(manifests, "Rollout")["scoregate-fraud"]["spec"]["strategy"]["canary"]
    (backend,) = of(manifests, "HTTPRoute")["scoregate-fraud"]["spec"]["rules"][0]["backendRefs"]
    selector = of(manifests, "Service")[backend["name"]]["spec"]["selector"]
    labels = of(manifests, "Rollout")["scoregate-fraud"]["spec"]["template"]["metadata"]["labels"]

    assert not {"trafficRouting", "stableService", "canaryService", "scaleDownDelaySeconds"} & set(canary)
    assert ("scoregate-fraud-stable", 100) == (backend["name"], backend["weight"])
    assert selector.items() <= labels.items()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            "rollout.argo.prometheus=",
            "rollout.strategy is argo, but rollout.argo.prometheus is empty: without metrics there is no verdict, "
            "and no canary would ever be promoted. Name Prometheus' URL.",
        ),
        (
            "ledger.url.existingSecret=,ledger.sqlite.existingClaim=claim",
            "rollout.strategy is argo, but ledger.url.existingSecret is empty: "
            "the verdict reads the decisions of all pods, so they need one ledger.",
        ),
        (
            "services.fraud.canary.weight=10",
            "services.fraud.canary.weight is 10, but with rollout.strategy argo it is Argo that gives shares, "
            "by rollout.argo.steps: leave it at 0.",
        ),
        (
            "ledger.segments.accept=true,defaults.replicas=1,services.fraud.canary.tag=,"
            "services.kyc.autoscaling.enabled=false",
            "rollout.strategy is argo, but ledger.segments.accept is true, for which each arm is a StatefulSet "
            "of one pod: set the strategy to helm, or accept no segments.",
        ),
    ],
)
def test_refused_in_a_sentence(helm: Helm, values: str, sentence: str) -> None:
    """What cannot work with Argo is refused, and nothing else is complained of."""
    refused = helm("argo", *SERVED, f"--set={values}")

    assert [f"- {sentence}"] == [line for line in refused.stderr.splitlines() if line.startswith("- ")]


def test_refused_without_its_definitions(helm: Helm) -> None:
    """Argo CD and Argo Workflows serve the same group: what counts is the kind."""
    refused = helm("argo", "--api-versions=monitoring.coreos.com/v1", "--api-versions=argoproj.io/v1alpha1")

    assert "- rollout.strategy is argo, but the cluster does not serve argoproj.io/v1alpha1/Rollout" in refused.stderr
