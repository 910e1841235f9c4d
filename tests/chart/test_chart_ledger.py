"""What keeps the ledger: segments that survive their pod, checkpoints, retention, migration."""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable
from typing import Any

import pytest

from scoregate.ledger import commands
from scoregate.settings import Settings

Manifest = dict[str, Any]
Helm = Callable[..., subprocess.CompletedProcess[str]]


def of_kind(manifests: list[Manifest], kind: str) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in manifests if m["kind"] == kind}


def parsed(command: list[str]) -> argparse.Namespace:
    """What the command line makes of a container's command."""
    assert ["python", "-m", "scoregate"] == command[:3]
    parser = argparse.ArgumentParser()
    commands.register(parser.add_subparsers())
    return parser.parse_args(command[3:])


def test_only_with_a_volume_of_its_own_a_pod_accepts(manifests: dict[str, list[Manifest]], case: str) -> None:
    """Without one it refuses while the database is down, which is the process's default too."""
    config = of_kind(manifests[case], "ConfigMap")["scoregate-fraud"]["data"]
    accepts = case == "segments"

    assert "refuse" == Settings.model_fields["ledger_segment"].default
    assert accepts == (config.get("SCOREGATE_LEDGER_SEGMENT") == "accept")
    assert accepts == bool(of_kind(manifests[case], "StatefulSet"))


def test_a_successor_gets_the_segments(manifests: dict[str, list[Manifest]]) -> None:
    """One pod at a time, on a claim that is its own and stays whatever goes, mounted where the process writes."""
    sets = of_kind(manifests["segments"], "StatefulSet")
    services = of_kind(manifests["segments"], "Service")

    assert {"scoregate-credit-stable", "scoregate-fraud-stable", "scoregate-kyc-stable"} == set(sets)
    for name, each in sets.items():
        spec, (claim,) = each["spec"], each["spec"]["volumeClaimTemplates"]
        config = of_kind(manifests["segments"], "ConfigMap")[name.removesuffix("-stable")]["data"]
        mounts = {m["name"]: m["mountPath"] for m in spec["template"]["spec"]["containers"][0]["volumeMounts"]}
        assert 1 == spec["replicas"]
        assert "strategy" not in spec and spec["serviceName"] in services
        assert {"whenDeleted": "Retain", "whenScaled": "Retain"} == spec["persistentVolumeClaimRetentionPolicy"]
        assert ["ReadWriteOnce"] == claim["spec"]["accessModes"]
        assert config["SCOREGATE_LEDGER_SEGMENT_DIR"] == mounts[claim["metadata"]["name"]]


def test_checkpoints_lie_apart_and_are_signed_by_one_key(manifests: dict[str, list[Manifest]]) -> None:
    """Folder and key are where the process looks, from the claim and the Secret; the key cannot be written."""
    for each in of_kind(manifests["segments"], "StatefulSet").values():
        spec = each["spec"]["template"]["spec"]
        config = of_kind(manifests["segments"], "ConfigMap")[spec["serviceAccountName"]]["data"]
        mounts = {m["mountPath"]: m for m in spec["containers"][0]["volumeMounts"]}
        volumes = {v["name"]: v for v in spec["volumes"]}
        folder = mounts[config["SCOREGATE_CHECKPOINT_DIR"]]
        key, _, file = config["SCOREGATE_CHECKPOINT_KEY_FILE"].rpartition("/")
        assert "scoregate-checkpoints" == volumes[folder["name"]]["persistentVolumeClaim"]["claimName"]
        assert "scoregate-checkpoint-key" == volumes[mounts[key]["name"]]["secret"]["secretName"]
        assert mounts[key]["readOnly"] and "checkpoint.key" == file


def test_a_key_that_dies_with_its_pod_signs_nothing(manifests: dict[str, list[Manifest]]) -> None:
    """Where no place is named for checkpoints the process takes none, instead of some that nobody can check."""
    for config in of_kind(manifests["default"], "ConfigMap").values():
        if "SCOREGATE_HASH_KEY_FILE" in config["data"]:
            assert "0" == config["data"]["SCOREGATE_CHECKPOINT_S"]


def test_each_service_forgets_in_time(manifests: dict[str, list[Manifest]], case: str) -> None:
    """A CronJob per service, by the same ledger as its pods; none where the ledger dies with them."""
    jobs = {n: job for n, job in of_kind(manifests[case], "CronJob").items() if n.endswith("-retention")}
    services = {name for name in of_kind(manifests[case], "ServiceAccount") if not name.endswith(("worker", "before"))}

    assert jobs.keys() == (set() if case == "minimal" else {f"{name}-retention" for name in services})
    for name, job in jobs.items():
        assert "Forbid" == job["spec"]["concurrencyPolicy"]
        (container,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
        command = container["command"]
        if "sh" == command[0]:
            # One file per pod that ever was.
            script = command[2].partition("sqlite:///$file ")[2].partition(" || exit 1")[0]
            command = script.split()
        else:
            given = {one["name"]: one for one in container["env"]}
            assert "scoregate-ledger" == given["SCOREGATE_LEDGER_URL"]["valueFrom"]["secretKeyRef"]["name"]
        asked = parsed(command)
        assert name == f"scoregate-{asked.service}-retention"
        assert (12 if case == "segments" else None) == asked.months


@pytest.mark.parametrize("case_", ["production", "segments"])
def test_the_schema_is_ready_before_the_pods_are(manifests: dict[str, list[Manifest]], case_: str) -> None:
    """The migration is a hook before install and upgrade, not on rollback, and may reach the database and no more."""
    job = of_kind(manifests[case_], "Job")["scoregate-migration"]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    policy = of_kind(manifests[case_], "NetworkPolicy")["scoregate-ledger-jobs"]["spec"]
    (components,) = policy["podSelector"]["matchExpressions"]

    assert "pre-install,pre-upgrade" == job["metadata"]["annotations"]["helm.sh/hook"]
    assert parsed(container["command"]).service
    assert "envFrom" not in container
    assert job["spec"]["template"]["metadata"]["labels"][components["key"]] in components["values"]
    assert {53, 5432} == {port["port"] for rule in policy["egress"] for port in rule["ports"]}


def test_files_have_no_migration(manifests: dict[str, list[Manifest]]) -> None:
    """A file is migrated by the one pod that opens it."""
    assert not of_kind(manifests["default"], "Job")
