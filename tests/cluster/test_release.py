"""From nothing to a decision, and what the cluster says of every manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cluster import cluster
from cluster.cluster import ROOT, Release, get, kubectl
from stack.running import eventually


@pytest.fixture
def elsewhere(release: Release) -> Iterator[str]:
    """An empty namespace as restricted as the release's: what is there would be merged with what comes."""
    name = f"{cluster.NAMESPACE}-rendered"
    namespace = (ROOT / "k8s" / "prerequisites" / "namespace.yaml").read_text()
    given = namespace.replace(f"name: {cluster.NAMESPACE}\n", f"name: {name}\n")
    cluster.run("kubectl", "apply", "--filename=-", given=given)
    yield name
    cluster.run("kubectl", "delete", "namespace", name, "--wait=false")


def needed(path: Path) -> set[str]:
    """The APIs that a file's manifests are of."""
    return {manifest["apiVersion"] for manifest in yaml.safe_load_all(path.read_text())}


def test_from_nothing_to_a_decision(release: Release) -> None:
    """Through the gateway: the model decides about somebody whom the demo told of, with nothing stale or missing."""
    expected = (200, "model", {"stale": [], "missing": [], "supplied": [], "outside": []})

    def answered() -> tuple[int, str, dict[str, list[str]]]:
        response = release.post()
        return response.status_code, response.json().get("source", ""), response.json().get("features", {})

    # On a busy machine the worker may be held up for longer than features stay fresh.
    eventually(lambda: answered() == expected)


def test_helm_test_passes(release: Release) -> None:
    """`helm test` asks every arm, and has one decide."""
    said = release.helm("test", "--logs").stdout

    assert 3 == sum(line.startswith("ok   ") for line in said.splitlines()), said


def test_the_registry_is_compared(release: Release) -> None:
    """Nothing is done without: the model was compared with the registry that the Job put into the database."""
    said = release.sh(
        "import urllib.request as u; print(u.urlopen('http://127.0.0.1:3000/readyz?verbose').read().decode())",
        "deployment/scoregate-credit-stable",
    )

    assert '"degraded": []' in said or '"degraded":[]' in said, said


def test_hooks_leave_nothing_behind(release: Release) -> None:
    """Jobs around the install, and the account of those before it, are gone when they are done."""
    assert [] == [job["metadata"]["name"] for job in get("jobs")["items"]]
    assert "" == kubectl("get", "serviceaccount", "scoregate-before", "--ignore-not-found")


def test_the_cluster_takes_every_manifest(elsewhere: str) -> None:
    """No field is unknown to the API or to its custom resources' own schemas, and no pod less than restricted."""
    served = set(kubectl("api-versions").split())
    files = [path for path in (ROOT / "k8s" / "rendered").rglob("*.yaml") if needed(path) <= served]
    rendered = "---\n".join(path.read_text() for path in files)
    given = rendered.replace(f"namespace: {cluster.NAMESPACE}\n", f"namespace: {elsewhere}\n")
    command = ("kubectl", "apply", "--server-side", "--dry-run=server", "--validate=strict", "--filename=-")
    done = cluster.run(*command, given=given)

    assert "PodSecurity" not in done.stderr
    assert "scoregate-fraud-stable serverside-applied" in done.stdout
