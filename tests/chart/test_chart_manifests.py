"""Every manifest is what Kubernetes takes, and every pod is as restricted as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import kubernetes_validate
import pytest

Manifest = dict[str, Any]
GATEWAY_API = "gateway.networking.k8s.io/v1"
CUSTOM = {GATEWAY_API, "argoproj.io/v1alpha1", "monitoring.coreos.com/v1"}
"""What is not Kubernetes' own: `make schemas` asks those who define it."""
VOLUMES = {"emptyDir", "downwardAPI", "secret", "configMap", "persistentVolumeClaim", "projected"}

NAME = {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "maxLength": 253}
PORT = {"type": "integer", "minimum": 1, "maximum": 65_535}


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """An object with these fields and no other."""
    return {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}


def listed(items: dict[str, Any], most: int) -> dict[str, Any]:
    """A list of 1 to `most` items."""
    return {"type": "array", "minItems": 1, "maxItems": most, "items": items}


PARENT = closed({"name": NAME, "namespace": NAME, "sectionName": NAME, "port": PORT}, "name")
WEIGHT = {"type": "integer", "minimum": 0, "maximum": 1_000_000}
KIND = {"group": {"const": ""}, "kind": {"const": "Service"}}
BACKEND = closed({**KIND, "name": NAME, "port": PORT, "weight": WEIGHT}, "name", "port")
PATH = closed({"type": {"const": "PathPrefix"}, "value": {"type": "string", "pattern": "^/"}}, "type", "value")
MATCHES = listed(closed({"path": PATH}), 64)
RULE = closed({"matches": MATCHES, "backendRefs": listed(BACKEND, 16)}, "matches", "backendRefs")
CERTIFICATES = listed(closed({"name": NAME}, "name"), 64)
LISTENER = closed(
    {
        "name": NAME,
        "port": PORT,
        "protocol": {"enum": ["HTTP", "HTTPS"]},
        "tls": closed({"mode": {"const": "Terminate"}, "certificateRefs": CERTIFICATES}, "mode", "certificateRefs"),
        "allowedRoutes": closed({"namespaces": closed({"from": {"enum": ["All", "Same", "Selector"]}})}),
    },
    "name",
    "port",
    "protocol",
)
SPECS = {
    "HTTPRoute": closed(
        {"parentRefs": listed(PARENT, 32), "hostnames": listed(NAME, 16), "rules": listed(RULE, 16)},
        "parentRefs",
        "rules",
    ),
    "Gateway": closed({"gatewayClassName": NAME, "listeners": listed(LISTENER, 64)}, "gatewayClassName", "listeners"),
}
"""Kind → JSON Schema of its spec: the fields that the chart uses, and no other."""


@pytest.fixture(scope="session")
def everything(
    manifests: dict[str, list[Manifest]], helm_tests: list[Manifest], prerequisites: list[Manifest]
) -> list[Manifest]:
    """Each different manifest of all cases, the test pods and the prerequisites, once."""
    found = [m for case in manifests.values() for m in case] + helm_tests + prerequisites
    return list({json.dumps(m, sort_keys=True): m for m in found}.values())


def pods(manifests: list[Manifest]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Name, labels and spec of every pod."""
    for manifest in manifests:
        job = manifest["spec"]["jobTemplate"] if manifest["kind"] == "CronJob" else manifest
        template = manifest if manifest["kind"] == "Pod" else job.get("spec", {}).get("template")
        if template:
            yield manifest["metadata"]["name"], template["metadata"]["labels"], template["spec"]


def replica_sets(manifests: list[Manifest]) -> Iterator[Manifest]:
    """What Argo Rollouts makes of Rollouts: their pods are for Kubernetes to take."""
    for manifest in manifests:
        if manifest["kind"] == "Rollout":
            spec = {key: manifest["spec"][key] for key in ("selector", "template")}
            yield {**manifest, "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec}


@pytest.mark.parametrize("version", ["1.29", "1.33", "1.37"])
def test_kubernetes_takes_it(everything: list[Manifest], version: str) -> None:
    """No field is unknown or of the wrong type, from the oldest Kubernetes that the chart names to the newest."""
    for manifest in [*everything, *replica_sets(everything)]:
        if manifest["apiVersion"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_gateway_api_takes_it(everything: list[Manifest]) -> None:
    """Routes and Gateways hold only fields of Gateway API v1 that every implementation must know."""
    seen = set()
    for manifest in everything:
        if manifest["apiVersion"] == GATEWAY_API:
            seen.add(manifest["kind"])
            jsonschema.validate(manifest["spec"], SPECS[manifest["kind"]])

    assert set(SPECS) == seen


def test_pods_are_restricted(everything: list[Manifest]) -> None:
    """Every container meets the restricted pod security level, and more: a read-only root and no token."""
    found = list(pods(everything))

    assert found
    for name, _, spec in found:
        assert not spec["automountServiceAccountToken"], name
        assert spec["securityContext"]["runAsNonRoot"], name
        assert 0 < spec["securityContext"]["runAsUser"], name
        assert {"type": "RuntimeDefault"} == spec["securityContext"]["seccompProfile"], name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert all(VOLUMES & set(volume) for volume in spec.get("volumes", [])), name
        for container in spec["containers"] + spec.get("initContainers", []):
            assert {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "runAsNonRoot": True,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            } == container["securityContext"], name
            assert "memory" in container["resources"]["limits"], name


def test_written_folders_are_volumes(everything: list[Manifest]) -> None:
    """Under a read-only root, every mount has its volume, and /tmp and BentoML's home are among them."""
    for name, labels, spec in pods(everything):
        mounts = {mount["mountPath"]: mount["name"] for mount in spec["containers"][0].get("volumeMounts", [])}
        assert set(mounts.values()) <= {volume["name"] for volume in spec.get("volumes", [])} | {"data", "segments"}, (
            name
        )
        if "scoregate.dev/arm" in labels:
            assert {"/tmp", "/var/lib/bentoml", "/var/lib/scoregate"} <= set(mounts), name
        if "scoregate.dev/shard" in labels:
            assert {"/tmp", "/var/lib/scoregate/data"} <= set(mounts), name


def test_probes_and_drain(everything: list[Manifest]) -> None:
    """Readiness and life are asked for separately, and no pod is killed before its last answer may have left."""
    scoring = [spec for _, labels, spec in pods(everything) if "scoregate.dev/arm" in labels]
    drain_s, deadline_s = 2, 1

    assert scoring
    for spec in scoring:
        container = spec["containers"][0]
        asked = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")]
        assert ["/readyz", "/readyz", "/livez"] == asked
        options = dict(zip(container["command"][3::2], container["command"][4::2], strict=True))
        assert 3000 == container["ports"][0]["containerPort"] == int(options["--port"])
        # The gateway drops idle connections after 30 s: ours must live longer, or it writes into closed ones.
        assert int(options["--timeout-keep-alive"]) > 30
        before_term_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert before_term_s + drain_s + deadline_s < spec["terminationGracePeriodSeconds"]


def test_a_worker_hands_over(everything: list[Manifest]) -> None:
    """A worker is alive while it fills the store, and counts on until its successor has had time to start."""
    workers = [m for m in everything if "scoregate.dev/shard" in m["metadata"]["labels"]]

    assert workers
    for worker in workers:
        spec = worker["spec"]["template"]["spec"]
        container = spec["containers"][0]
        asked = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")]
        overlap_s = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert ["/livez", "/readyz", "/livez"] == asked
        assert overlap_s + 10 < spec["terminationGracePeriodSeconds"]
        # One that waits for a lease is not ready: an update that waited for it would wait for ever.
        assert {"maxUnavailable": 1, "maxSurge": 1} == worker["spec"]["strategy"]["rollingUpdate"]


def test_one_shard_has_the_data(manifests: dict[str, list[Manifest]]) -> None:
    """The first shard alone mounts the claim, so one that a single node can mount will do."""
    claims = {
        labels["scoregate.dev/shard"]: volume.get("persistentVolumeClaim", {}).get("claimName")
        for _, labels, spec in pods(manifests["production"])
        if "scoregate.dev/shard" in labels
        for volume in spec["volumes"]
        if volume["name"] == "data"
    }

    assert {"0": "scoregate-data", "1": None} == claims


def test_nothing_is_open(manifests: dict[str, list[Manifest]], case: str) -> None:
    """All pods of a release start from nothing allowed; scoring pods then open one port to named peers."""
    policies = {m["metadata"]["name"]: m["spec"] for m in manifests[case] if m["kind"] == "NetworkPolicy"}
    deny, scoring = policies["scoregate-default-deny"], policies["scoregate-scoring"]

    assert {"podSelector", "policyTypes"} == set(deny)
    assert ["Ingress", "Egress"] == deny["policyTypes"]
    for _, labels, _ in pods(manifests[case]):
        assert deny["podSelector"]["matchLabels"].items() <= labels.items()
    assert [[{"port": "http"}]] == [rule["ports"] for rule in scoring["ingress"]]
    assert all(rule["from"] for rule in scoring["ingress"])
    assert all(rule["to"] for rule in scoring["egress"])


def test_egress_follows_what_is_used(manifests: dict[str, list[Manifest]]) -> None:
    """The ledger's database and the trace receiver may be reached only where they are configured."""

    def ports(case: str, of: str) -> list[int]:
        named = [m for m in manifests[case] if m["metadata"]["name"] == f"scoregate-{of}"]
        (policy,) = [m["spec"] for m in named if m["kind"] == "NetworkPolicy"]
        return sorted({port["port"] for rule in policy["egress"] for port in rule["ports"]})

    assert [53, 6379] == ports("default", "scoring") == ports("default", "worker")
    assert [53, 4318, 5432, 6379] == ports("production", "scoring")
    assert [53, 6379] == ports("production", "worker")


def test_only_metrics_are_asked_of_a_worker(manifests: dict[str, list[Manifest]]) -> None:
    """Nobody may come in to a worker but who scrapes, and nobody at all where that is not said."""
    found = {
        case: next(m["spec"] for m in manifests[case] if m["metadata"]["name"] == "scoregate-worker" and "spec" in m)
        for case in ("default", "production")
    }
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    assert all(["Ingress", "Egress"] == spec["policyTypes"] for spec in found.values())
    assert "ingress" not in found["default"]
    assert [{"from": [monitoring], "ports": [{"port": "http"}]}] == found["production"]["ingress"]
    selected = found["production"]["podSelector"]["matchLabels"].items()
    chosen = [selected <= labels.items() for _, labels, _ in pods(manifests["production"])]
    assert chosen == ["scoregate.dev/shard" in labels for _, labels, _ in pods(manifests["production"])]


def test_store_and_services_find_each_other(
    manifests: dict[str, list[Manifest]], prerequisites: list[Manifest]
) -> None:
    """The chart's defaults fit the Valkey of k8s/prerequisites: name, port, and policies on both sides."""
    valkey = {m["kind"]: m for m in prerequisites if m["metadata"]["name"] == "valkey"}
    scoring = next(m["spec"] for m in manifests["default"] if m["metadata"]["name"] == "scoregate-scoring")
    config = next(m["data"] for m in manifests["default"] if m["kind"] == "ConfigMap")
    port = valkey["Service"]["spec"]["ports"][0]["port"]

    assert f"redis://valkey:{port}/0" == config["SCOREGATE_STORE_URL"]
    to_store = next(rule for rule in scoring["egress"] if rule["ports"][0]["port"] == port)
    stored = valkey["StatefulSet"]["spec"]["template"]["metadata"]["labels"].items()
    assert to_store["to"][0]["podSelector"]["matchLabels"].items() <= stored
    allowed = valkey["NetworkPolicy"]["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"].items()
    assert all(allowed <= labels.items() for _, labels, _ in pods(manifests["default"]))


def test_names_that_exist(manifests: dict[str, list[Manifest]], prerequisites: list[Manifest]) -> None:
    """The claims that the default case mounts are those that the prerequisites make, in the same namespace."""
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for _, _, spec in pods(manifests["default"])
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }

    assert claims == {m["metadata"]["name"] for m in prerequisites if m["kind"] == "PersistentVolumeClaim"}
    assert {"scoregate"} == {m["metadata"]["namespace"] for m in manifests["default"]}
