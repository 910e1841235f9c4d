"""The HorizontalPodAutoscaler with real metrics: more pods under load, fewer without."""

from __future__ import annotations

from cluster.cluster import Release, get
from cluster.load import load
from stack.running import eventually

PATIENCE_S = 600.0
SCALED = (
    "defaults.replicas=1",
    "defaults.autoscaling.enabled=true",
    "defaults.autoscaling.maxReplicas=2",
    "defaults.autoscaling.scaleDownSeconds=0",
    # Of the little that a pod requests here: load is more, and an idle process is less.
    "defaults.autoscaling.cpuPercent=100",
)


def wanted() -> int:
    """How many pods the autoscaler asks for."""
    replicas: int = get("deployment/scoregate-credit-stable")["spec"]["replicas"]
    return replicas


def test_pods_follow_the_load(healed: Release) -> None:
    """Up while requests come, down again when they stop, and no request fails on the way."""
    healed.upgrade(*SCALED, "defaults.resources.requests.cpu=100m")
    with load(healed) as seen:
        eventually(lambda: wanted() == 2, PATIENCE_S)
    eventually(lambda: wanted() == 1, PATIENCE_S)

    assert [] == seen.failed
