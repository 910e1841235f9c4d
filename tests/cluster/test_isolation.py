"""NetworkPolicies as they are enforced: who reaches whom, and who does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cluster.cluster import Release, get, kubectl

STRANGER = """
apiVersion: v1
kind: Pod
metadata: {name: stranger}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: stranger
      image: scoregate-test/credit:v1
      imagePullPolicy: Never
      command: [sleep, "3600"]
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""
REACH = """
import socket, sys
for host, port in {targets}:
    try:
        socket.create_connection((host, port), timeout=3).close()
        print('reached', host, port)
    except OSError as problem:
        print('refused', host, port)
"""
STORES = [("valkey", 6379), ("postgres", 5432)]


@pytest.fixture
def stranger(release: Release) -> Iterator[str]:
    """A pod in the release's own namespace that is no part of it."""
    kubectl("apply", "--filename=-", given=STRANGER)
    kubectl("wait", "pod/stranger", "--for=condition=Ready", "--timeout=5m")
    yield "pod/stranger"
    kubectl("delete", "pod/stranger", "--wait=false")


def reached(release: Release, pod: str, targets: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Which of the targets take a connection from this pod. Those that refuse cost a few seconds each."""
    told = [line.split() for line in release.sh(REACH.format(targets=targets), pod).splitlines()]

    assert len(targets) == len(told)
    return [(host, int(port)) for outcome, host, port in told if outcome == "reached"]


def addresses(release: Release) -> list[tuple[str, int]]:
    """The pods themselves: a Service's address proves nothing where names are not even resolved."""
    pods = get("pods", "--selector=app.kubernetes.io/part-of=scoregate")["items"]
    found = [(p["status"]["podIP"], p["spec"]["containers"][0]["ports"][0]["containerPort"]) for p in pods]
    stores = [get(f"pod/{name}-0")["status"]["podIP"] for name, _ in STORES]
    return [*found, *zip(stores, (port for _, port in STORES), strict=True)]


def test_a_stranger_reaches_nothing(release: Release, stranger: str) -> None:
    """Neither service, worker, store nor database, by name or by address."""
    targets = [("scoregate-credit-stable", 80), *STORES, *addresses(release)]

    assert len(targets) >= 8
    assert [] == reached(release, stranger, targets)


def test_a_service_reaches_what_it_needs_and_nothing_else(release: Release) -> None:
    """Store and database; neither the cluster's API, nor its siblings, nor an address outside."""
    api = get("service/kubernetes", "--namespace=default")["spec"]["clusterIP"]
    worker = get("pods", "--selector=app.kubernetes.io/component=worker")["items"][0]["status"]["podIP"]
    others = [(api, 443), (worker, 3001), ("scoregate-credit-stable", 80), ("192.0.2.1", 443)]

    assert STORES == reached(release, "deployment/scoregate-credit-stable", [*STORES, *others])


def test_a_worker_reaches_no_service(release: Release) -> None:
    """The worker needs store and registry; it asks no service anything."""
    others = [("scoregate-credit-stable", 80), ("192.0.2.1", 443)]

    assert STORES == reached(release, "deployment/scoregate-worker-0", [*STORES, *others])
