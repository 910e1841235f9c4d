"""What of a cluster the verbs need, through kubectl: its credentials and contexts are whoever's that runs it."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any, Final

from scoregate.errors import ScoregateError
from scoregate.rollout.route import Patch, Route

FIELD_MANAGER: Final = "scoregate"
"""Owns what verbs note on the route; the rules, which they weigh, are given back to whoever applied them."""
ROUTES: Final = "httproutes.gateway.networking.k8s.io"
TIMEOUT_S: Final = 30.0


class Kubectl:
    """kubectl in one namespace, by default that of its context.

    Raises:
        ScoregateError: there is no kubectl, or the cluster refuses; with kubectl's own words.
    """

    def __init__(self, namespace: str | None) -> None:
        program = shutil.which("kubectl")
        if program is None:
            raise ScoregateError("kubectl is not on PATH, and --kube goes through it")
        self._command = [program, *(("--namespace", namespace) if namespace else ())]

    def route(self, name: str) -> Route:
        found: Route = self._json("get", ROUTES, name, "--show-managed-fields")
        return found

    def patch_route(self, name: str, patch: Patch) -> None:
        how = ("--type=json", f"--field-manager={FIELD_MANAGER}", f"--patch={json.dumps(patch)}")
        self._run("patch", ROUTES, name, *how)

    def pods(self, **labels: str) -> list[dict[str, Any]]:
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        found: list[dict[str, Any]] = self._json("get", "pods", f"--selector={selector}")["items"]
        return found

    def _json(self, *words: str) -> Any:
        return json.loads(self._run(*words, "--output=json"))

    def _run(self, *words: str) -> str:
        try:
            done = subprocess.run(
                [*self._command, *words], capture_output=True, text=True, check=False, timeout=TIMEOUT_S
            )
        except subprocess.TimeoutExpired:
            raise ScoregateError(f"the cluster did not answer `kubectl {words[0]}` in {TIMEOUT_S:g} s") from None
        if done.returncode:
            raise ScoregateError(f"kubectl {words[0]}: {done.stderr.strip()}")
        return done.stdout
