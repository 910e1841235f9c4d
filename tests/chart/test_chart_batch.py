"""A file that is scored by a Job: as the service would, and again after a kill."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from scoregate.batch import commands

Manifest = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def batch(manifests: list[Manifest]) -> Manifest:
    (job,) = [m for name, m in of_kind(manifests, "Job").items() if "-batch-" in name]
    return job


def test_it_goes_on_after_a_kill(manifests: dict[str, list[Manifest]]) -> None:
    """What the command line knows, on files of the claim, always resuming, by a new pod each time."""
    spec = batch(manifests["production"])["spec"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    asked = parser.parse_args(container["command"][3:])
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v
    }

    assert ("fraud", True, 4) == (asked.service, asked.resume, asked.workers)
    assert (Path("/files/backlog.parquet"), Path("/files/scored/backlog.parquet")) == (asked.source, asked.target)
    assert "scoregate-files" == claims[mounts["/files"]]
    assert "Never" == pod["restartPolicy"] and spec["backoffLimit"] > 0


def test_it_decides_as_stable_does(manifests: dict[str, list[Manifest]]) -> None:
    """Settings, model, store, ledger and hash key are those of the service's stable arm."""
    stable = of_kind(manifests["production"], "Deployment")["scoregate-fraud-stable"]["spec"]["template"]["spec"]
    (serving,), (scoring,) = (
        stable["containers"],
        batch(manifests["production"])["spec"]["template"]["spec"]["containers"],
    )
    shared = {one["name"]: one for one in serving["env"]}

    assert serving["envFrom"] == scoring["envFrom"]
    assert shared == {one["name"]: one for one in scoring["env"]}
    assert {"hash-key", "models"} <= {mount["name"] for mount in scoring["volumeMounts"]}


def test_its_image_can_be_built() -> None:
    """The Dockerfile takes the lock that the image is said to be built with."""
    assert "ARG LOCK=serve\nCOPY requirements/${LOCK}.lock" in (ROOT / "Dockerfile").read_text()
    assert "pyarrow==" in (ROOT / "requirements" / "batch.lock").read_text()
