"""A cluster as the tests use it: kubectl, helm, the release, and what it answers through the gateway."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from helm.binary import helm
from helm.scoregate.files.canary_step import helms

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent
NAMESPACE = RELEASE = "scoregate"
WAIT = "10m"
PREPARED = ("registry.apply.enabled=false", "ledger.migrate.enabled=false", "demo.enabled=false")
"""What the install has done and an upgrade need not do again: each Job takes a while."""
NO_CLUSTER = "No cluster answers `kubectl get --raw /readyz`: start one, set KUBECONFIG, and run these tests again."

Ran = subprocess.CompletedProcess[str]


def answers() -> bool:
    """Whether there is a cluster to talk to."""
    try:
        return run("kubectl", "get", "--raw", "/readyz", check=False).returncode == 0
    except FileNotFoundError:
        return False


def run(*command: str, given: str | None = None, check: bool = True) -> Ran:
    done = subprocess.run(command, cwd=ROOT, input=given, capture_output=True, text=True, timeout=1200, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


def load(*images: str) -> None:
    """Hand images over to the cluster's node; KUBE_LOAD is the command that does it."""
    run(*shlex.split(os.environ["KUBE_LOAD"]), *images)


def kubectl(*arguments: str, given: str | None = None, check: bool = True) -> str:
    return run("kubectl", "--namespace", NAMESPACE, *arguments, given=given, check=check).stdout


def get(kind: str, *arguments: str) -> Any:
    return json.loads(kubectl("get", kind, "--output=json", *arguments))


@dataclass(frozen=True)
class Release:
    """The chart in the cluster; every upgrade begins at the values of values.yaml."""

    url: str
    key: str
    example: dict[str, Any]

    def helm(self, verb: str, *arguments: str, check: bool = True) -> Ran:
        return run(str(helm()), verb, RELEASE, *arguments, f"--namespace={NAMESPACE}", check=check)

    def install(self) -> None:
        self._deploy("install", "--wait")

    def upgrade(self, *settings: str) -> None:
        """Bring the release to values.yaml and these settings, and wait for it."""
        self._upgrade("--wait", *(f"--set={each}" for each in settings))

    def change(self, *options: str) -> None:
        """Bring it to values.yaml and what Helm is told besides, and do not wait: of a Rollout Helm knows no end."""
        self._upgrade(*options)

    def refused_upgrade(self, *settings: str) -> str:
        """What Helm says when it does not succeed."""
        done = self._upgrade(*(f"--set={each}" for each in settings), check=False)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def _upgrade(self, *options: str, check: bool = True) -> Ran:
        return self._deploy("upgrade", *(f"--set={each}" for each in PREPARED), *options, check=check)

    def _deploy(self, verb: str, *arguments: str, check: bool = True) -> Ran:
        chart, values = str(ROOT / "helm" / "scoregate"), f"--values={FOLDER / 'values.yaml'}"
        return self.helm(verb, chart, values, f"--timeout={WAIT}", *arguments, check=check)

    def rollback(self, *options: str) -> None:
        self.helm("rollback", "--wait", f"--timeout={WAIT}", *options)

    def canary(self, verb: str, *options: str) -> None:
        """Run `scoregate canary` on the release."""
        of = ("--kube", f"--release={RELEASE}", f"--namespace={NAMESPACE}")
        run(sys.executable, "-m", "scoregate", "canary", verb, "credit", *of, *options)

    def fresh(self) -> dict[str, Any]:
        """The example, as an application that was not asked about before."""
        return {**self.example, "application_id": f"test-{uuid.uuid4().hex[:12]}"}

    def post(self, client: httpx.Client | None = None) -> httpx.Response:
        return self.ask(self.fresh(), client)

    def ask(self, body: dict[str, Any], client: httpx.Client | None = None) -> httpx.Response:
        post = client.post if client else httpx.post
        headers = {"authorization": f"Bearer {self.key}"}
        return post(f"{self.url}/v1/credit/score", json=body, headers=headers, timeout=30)

    def weights(self) -> dict[str, int]:
        """Arm → its share on the route."""
        (rule,) = get("httproute", "scoregate-credit")["spec"]["rules"]
        return {ref["name"].rpartition("-")[2]: ref["weight"] for ref in rule["backendRefs"]}

    def shift(self, canary: int) -> None:
        """Change the weights by hand, as the runbook says: under the name of who applied the route."""
        route = get("httproute", "scoregate-credit")
        for ref in route["spec"]["rules"][0]["backendRefs"]:
            ref["weight"] = canary if ref["name"].endswith("-canary") else 100 - canary
        kept = {name: route["metadata"][name] for name in ("name", "namespace", "labels")}
        route["metadata"] = {**kept, "annotations": helms(route)}
        del route["status"]
        applied = json.dumps(route)
        kubectl("apply", "--server-side", "--field-manager=helm", "--force-conflicts", "--filename=-", given=applied)

    def sh(self, script: str, *of: str) -> str:
        """Run Python in a pod of the release; its exit code does not matter."""
        return kubectl("exec", *of, "--", "python", "-c", script, check=False).strip()
