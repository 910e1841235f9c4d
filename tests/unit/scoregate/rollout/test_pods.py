"""The pods of a canary: ready or not, and which Helm commands make them stable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from scoregate.errors import ScoregateError
from scoregate.rollout.kubectl import Kubectl
from scoregate.rollout.pods import Running, promotion, ready, running

RENDERED = Path(__file__).parents[4] / "k8s" / "rendered"


def pod(is_ready: bool = True, **metadata: str) -> dict[str, Any]:
    """A pod of fraud's canary, as the chart's Deployment makes it."""
    objects = yaml.safe_load_all((RENDERED / "canary-10" / "deployments.yaml").read_text())
    template = next(each for each in objects if each["metadata"]["name"] == "scoregate-fraud-canary")["spec"][
        "template"
    ]
    conditions = [{"type": "Ready", "status": str(is_ready)}]
    said = {**template["metadata"], "creationTimestamp": "2026-11-29T00:00:00Z", **metadata}
    return {"metadata": said, "spec": template["spec"], "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("pods", "expected"),
    [
        ([], False),
        ([pod()], True),
        ([pod(), pod(False)], False),
        ([pod(), pod(False, deletionTimestamp="2026-11-29T00:00:01Z")], True),
        ([{"metadata": {}, "spec": {}}], False),
    ],
)
def test_a_canary_is_ready_when_every_pod_that_stays_is(pods: list[dict[str, Any]], expected: bool) -> None:
    """None at all is not ready, and one that goes does not matter."""
    assert expected is ready(pods)


def test_what_the_newest_pod_runs_is_the_canary() -> None:
    """Image and artefact folder, as the chart puts them into the pod."""
    older = pod()
    newer = pod(creationTimestamp="2026-11-29T00:00:09Z")
    container = newer["spec"]["containers"][0] | {"image": "scoregate/fraud:9"}
    found = running([{**newer, "spec": {"containers": [container]}}, older], "fraud")

    assert Running("scoregate/fraud:9", "fraud") == found


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("registry:5000/scoregate/fraud:2", "image.tag=2 --set services.fraud.image.digest= "),
        ("scoregate/fraud@sha256:ab", "image.tag= --set services.fraud.image.digest=sha256:ab "),
    ],
)
def test_helm_first_makes_it_stable_and_then_takes_it_away(image: str, said: str) -> None:
    """In two commands: the canary's pods stay until the stable ones run what they run."""
    first, second = promotion(Running(image, "fraud-2"), "scoregate", "fraud", "risk")

    assert said in first
    assert "services.fraud.model=fraud-2 --set services.fraud.canary.weight=0" in first
    assert "services.fraud.canary.tag= " in second
    assert all("-n risk --reuse-values --wait" in each for each in (first, second))


def test_without_kubectl_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A sentence, and not a traceback."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ScoregateError, match="kubectl is not on PATH"):
        Kubectl(None)
