"""The chart agrees with what it deploys: settings, services, version, generated files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from helm.generate import generate, read

import scoregate
from scoregate.settings import Settings
from scoregate.training import commands
from scoregate.training.backfill import SHARDS_AT_MOST

Manifest = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "helm" / "scoregate"
PREFIX = "SCOREGATE_"
SERVING = {"Deployment", "Rollout", "StatefulSet"}


def environment(deployment: Manifest, manifests: list[Manifest]) -> dict[str, str]:
    """What a pod of the Deployment finds in its environment; a value from a Secret stands as its name."""
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    source = container["envFrom"][0]["configMapRef"]["name"]
    found: dict[str, str] = dict(
        next(m["data"] for m in manifests if m["kind"] == "ConfigMap" and m["metadata"]["name"] == source)
    )
    return found | {entry["name"]: entry.get("value", entry["name"]) for entry in container.get("env", [])}


def test_settings_take_it(manifests: dict[str, list[Manifest]], case: str) -> None:
    """Every SCOREGATE_ name that a pod is given is a setting, and its value is one that the setting takes."""
    for deployment in (m for m in manifests[case] if m["kind"] in SERVING):
        given = environment(deployment, manifests[case])
        ours = {name.removeprefix(PREFIX).lower(): value for name, value in given.items() if name.startswith(PREFIX)}

        assert set() == set(ours) - set(Settings.model_fields)
        assert given.get("SCOREGATE_ARM") == deployment["metadata"]["labels"].get("scoregate.dev/arm")
        Settings.model_validate(ours)


def test_settings_have_the_same_default() -> None:
    """Where the chart repeats a default of the process, it repeats it truly; only the drain is longer in a cluster."""
    chart = yaml.safe_load((CHART / "values.yaml").read_text())["defaults"]["settings"]
    process = {name: Settings.model_fields[name].default for name in chart}

    assert {"drain_s"} == {name for name in chart if chart[name] != process[name]}


def test_the_worker_counts_for_the_services(manifests: dict[str, list[Manifest]], case: str) -> None:
    """Worker and services speak of one project in one store, with one registry."""
    deployments = [m for m in manifests[case] if m["kind"] in SERVING]
    shared = ("SCOREGATE_PROJECT", "SCOREGATE_STORE_URL", "SCOREGATE_REGISTRY")
    given = {tuple(environment(each, manifests[case])[name] for name in shared) for each in deployments}

    assert 1 == len(given)


def test_the_command_takes_it(manifests: dict[str, list[Manifest]], case: str) -> None:
    """The shards of a release run what the command line knows, each a share of its own, on the image's port."""
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    workers = [
        m["spec"]["template"]["spec"]["containers"][0]
        for m in manifests[case]
        if m["kind"] == "Deployment" and "scoregate.dev/shard" in m["metadata"]["labels"]
    ]
    taken = [parser.parse_args(worker["command"][3:]) for worker in workers]
    image = (ROOT / "Dockerfile").read_text().partition("AS worker\n")[2]
    (port,) = {each.port for each in taken}

    assert all(["python", "-m", "scoregate"] == worker["command"][:3] for worker in workers)
    assert [(i, len(workers), "0.0.0.0") for i in range(len(workers))] == [(t.shard, t.shards, t.host) for t in taken]
    assert {port} == {worker["ports"][0]["containerPort"] for worker in workers}
    assert f"EXPOSE {port}\n" in image and f"http://127.0.0.1:{port}/livez" in image


def test_as_many_shards_as_a_rebuild_knows() -> None:
    """Who rebuilds the store waits for so many workers, and the chart starts no more."""
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["worker"]["properties"]

    assert SHARDS_AT_MOST == schema["shards"]["maximum"]


def test_every_service_has_a_folder() -> None:
    """A chart entry without a folder could never start; a folder without an entry is only not deployed yet."""
    services = yaml.safe_load((CHART / "values.yaml").read_text())["services"]

    assert [] == [name for name in services if not (ROOT / "services" / name).is_dir()]


def test_one_version() -> None:
    """The chart deploys the version it was released with."""
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())

    assert scoregate.__version__ == chart["appVersion"]


@pytest.mark.parametrize("path", [CHART / "values.schema.json", CHART / "README.md"], ids=lambda path: path.name)
def test_generated_files_are_current(path: Path) -> None:
    """Schema and table say what the comments of values.yaml say."""
    assert generate()[path] == path.read_text(), "run python helm/generate.py"


def test_undocumented_value_is_refused() -> None:
    """A value without a description cannot get into the chart."""
    with pytest.raises(ValueError, match=r"^a\.c in values\.yaml has no description"):
        read("# -- Known.\na:\n  # -- Known too.\n  b: 1\n  # Not one.\n  c: 2\n")


def test_helm_test_asks_both_arms(helm_tests: list[Manifest]) -> None:
    """`helm test` has a pod per service that asks each of its arms, with a script that compiles."""
    commands = [pod["spec"]["containers"][0]["command"] for pod in helm_tests]

    for name, command in zip(("credit", "fraud", "kyc"), commands, strict=True):
        assert [name, "", f"http://scoregate-{name}-stable", f"http://scoregate-{name}-canary"] == command[3:]
        compile(command[2], "helm_test.py", "exec")
