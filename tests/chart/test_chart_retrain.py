"""Training again in a cluster: who does it, with what, and that nobody does it unasked."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Any

from scoregate.rollout import retrain_command as commands
from scoregate.settings import Settings

Manifest = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def retraining(manifests: list[Manifest]) -> dict[str, dict[str, Any]]:
    """The pods that train again, by their CronJobs' names."""
    found = [m for m in manifests if m["kind"] == "CronJob" and m["metadata"]["name"].endswith("-retrain")]
    return {m["metadata"]["name"]: m["spec"]["jobTemplate"]["spec"]["template"]["spec"] for m in found}


def test_nobody_trains_unasked(manifests: dict[str, list[Manifest]]) -> None:
    """A model that nobody asked for is work and risk that nobody asked for."""
    assert {} == retraining(manifests["default"])


def test_a_service_is_trained_again_from_its_state(manifests: dict[str, list[Manifest]]) -> None:
    """The command line takes it, its settings are settings, and what it writes is the claim's."""
    pods = retraining(manifests["production"])
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())

    assert [f"scoregate-{name}-retrain" for name in ("credit", "fraud", "kyc")] == list(pods)
    for name, pod in pods.items():
        (container,) = pod["containers"]
        taken = parser.parse_args(container["command"][3:])
        given = {entry["name"]: entry.get("value", "") for entry in container["env"]}
        ours = {name.removeprefix("SCOREGATE_").lower() for name in given if name.startswith("SCOREGATE_")}
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        claims = {v["name"]: v.get("persistentVolumeClaim", {}).get("claimName") for v in pod["volumes"]}
        assert f"scoregate-{taken.service}-retrain" == name and taken.anyway is None
        assert ours <= set(Settings.model_fields)
        assert "scoregate-home" == claims[mounts[given["SCOREGATE_HOME"]]]


def test_its_image_can_be_built(manifests: dict[str, list[Manifest]]) -> None:
    """The Dockerfile has the target that the chart speaks of, with what training takes."""
    dockerfile = (ROOT / "Dockerfile").read_text()
    images = {pod["containers"][0]["image"] for pod in retraining(manifests["production"]).values()}

    assert {"registry.internal:5000/scoregate/train:0.1.0"} == images
    assert re.search(r"^FROM \w+ AS train$", dockerfile, re.MULTILINE) and "COPY requirements/train.lock" in dockerfile
