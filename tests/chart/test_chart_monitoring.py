"""What Prometheus' operator and Grafana's sidecar are told is what `deploy/` holds, and fits what is deployed."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from scoregate.monitor import commands

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]
DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OPERATOR = "monitoring.coreos.com/v1"


def of(manifests: list[Manifest], kind: str) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def chosen(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Whether a selector of names, and of keys that must be there or be among values, chooses these labels."""
    asked = [(each["key"], each.get("values")) for each in selector.get("matchExpressions", [])]
    fits = all(key in labels and labels[key] in (values or [labels[key]]) for key, values in asked)
    return fits and selector["matchLabels"].items() <= labels.items()


def test_nobody_is_told_unasked(manifests: dict[str, list[Manifest]]) -> None:
    """A cluster without the operator takes the default."""
    assert OPERATOR not in {manifest["apiVersion"] for manifest in manifests["default"]}
    assert [] == [m for m in of(manifests["default"], "ConfigMap") if "dashboard" in m["metadata"]["name"]]


def test_rules_are_those_that_promtool_tried(manifests: dict[str, list[Manifest]]) -> None:
    """The cluster alerts by the rules of deploy/prometheus, which have tests and runbooks."""
    (rule,) = of(manifests["monitored"], "PrometheusRule")

    assert yaml.safe_load((DEPLOY / "prometheus" / "rules.yaml").read_text()) == rule["spec"]


def test_every_dashboard_is_there(manifests: dict[str, list[Manifest]]) -> None:
    """Each of deploy/grafana in a ConfigMap of its own, with the label that Grafana's sidecar looks for."""
    files = [json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana").glob("*.json"))]
    told = [m for m in of(manifests["monitored"], "ConfigMap") if "grafana_dashboard" in m["metadata"]["labels"]]

    assert files == [json.loads(text) for each in told for text in each["data"].values()]


def test_every_arm_is_scraped(manifests: dict[str, list[Manifest]]) -> None:
    """All Services of arms are chosen, by the port that they have, and `service` stays what the process says."""
    (monitor,) = of(manifests["monitored"], "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    services = of(manifests["monitored"], "Service")

    assert services
    assert all(chosen(monitor["spec"]["selector"], each["metadata"]["labels"]) for each in services)
    assert {endpoint["port"]} == {port["name"] for each in services for port in each["spec"]["ports"]}
    assert endpoint["honorLabels"]


def test_what_has_no_service_is_scraped(manifests: dict[str, list[Manifest]]) -> None:
    """The worker and what looks for drift, by a port that they have."""
    (monitor,) = of(manifests["monitored"], "PodMonitor")
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    templates = {m["metadata"]["name"]: m["spec"]["template"] for m in of(manifests["monitored"], "Deployment")}
    found = {n for n, t in templates.items() if chosen(monitor["spec"]["selector"], t["metadata"]["labels"])}

    assert {"scoregate-worker-0", *(f"scoregate-{name}-drift" for name in ("credit", "fraud", "kyc"))} == found
    for name in found:
        (port,) = templates[name]["spec"]["containers"][0]["ports"]
        assert port["name"] == endpoint["port"]
    assert endpoint["honorLabels"]


def test_drift_is_looked_for_in_what_stable_decides(manifests: dict[str, list[Manifest]]) -> None:
    """The command line takes it; image, model and ledger are those of the service's stable pods."""
    pods = {m["metadata"]["name"]: m["spec"]["template"]["spec"] for m in of(manifests["monitored"], "Deployment")}
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())

    for name in ("credit", "fraud", "kyc"):
        (drift,), (stable,) = (pods[f"scoregate-{name}-{part}"]["containers"] for part in ("drift", "stable"))
        taken = parser.parse_args(drift["command"][3:])
        assert (taken.port, taken.host, taken.every) == (drift["ports"][0]["containerPort"], "0.0.0.0", 60)
        assert (drift["image"], drift["envFrom"]) == (stable["image"], stable["envFrom"])
        shared = [entry for entry in stable["env"] if entry["name"] in {"SCOREGATE_MODEL_DIR", "SCOREGATE_LEDGER_URL"}]
        assert shared == drift["env"]


def test_prometheus_is_let_in(manifests: dict[str, list[Manifest]], helm: Helm) -> None:
    """Whoever scrapes must be named; one who would be kept out is refused in a sentence."""
    refused = helm("monitored", f"--api-versions={OPERATOR}", "--set=networkPolicy.ingress.metrics=null")
    peers = {
        policy["metadata"]["name"]: rule["from"]
        for policy in of(manifests["monitored"], "NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
    }

    assert "monitoring.serviceMonitor.enabled is true, but networkPolicy.ingress.metrics is empty" in refused.stderr
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert all(prometheus in peers[name] for name in ("scoregate-scoring", "scoregate-worker", "scoregate-drift"))
