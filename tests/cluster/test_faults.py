"""What goes away under load: a serving pod, the online store. Nobody's request fails, and what was degraded is said."""

from __future__ import annotations

import time

from cluster.cluster import Release, kubectl
from cluster.load import load
from stack.running import eventually


def test_a_pod_that_is_deleted_fails_nobody(release: Release) -> None:
    """It drains while another takes its place."""
    before = kubectl("get", "pods", "--selector=scoregate.dev/arm=stable", "--output=name").split()
    with load(release) as seen:
        eventually(lambda: len(seen.answers) > 20)
        kubectl("delete", before[0], "--wait")
        kubectl("rollout", "status", "deployment/scoregate-credit-stable", "--timeout=5m")
        done_s = time.monotonic()
        eventually(lambda: seen.arms(done_s).total() > 20)

    assert [] == seen.failed


def test_a_store_that_is_deleted_fails_nobody(release: Release) -> None:
    """Rules answer while it is away, and the model again when it is back with what it knew."""
    with load(release) as seen:
        eventually(lambda: seen.sources()["model"] > 20)
        kubectl("delete", "pod/valkey-0", "--wait")
        eventually(lambda: seen.sources()["fallback"] > 0)
        kubectl("rollout", "status", "statefulset/valkey", "--timeout=5m")
        back_s = time.monotonic()
        eventually(lambda: seen.sources(back_s)["model"] > 20, 300)

    assert [] == seen.failed
    assert {"model", "fallback"} == set(seen.sources())
