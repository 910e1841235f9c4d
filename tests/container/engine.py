"""The container engine as the tests use it: whether it is there, images made from the project, one running service."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
NO_ENGINE = "No container engine answers `docker info`: start one, then run these tests again."


def run(*command: str, env: dict[str, str] | None = None, timeout_s: float = 120, check: bool = True) -> str:
    """Run a command from the root of the project and return what it says on stdout."""
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=timeout_s, check=False)
    if check and done.returncode:
        raise AssertionError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def answers() -> bool:
    """Whether there is an engine to talk to."""
    if shutil.which("docker") is None:
        return False
    return subprocess.run(["docker", "info"], capture_output=True, timeout=60, check=False).returncode == 0


def build(image: str, *arguments: str) -> None:
    """Build an image with BuildKit."""
    run(_builder(), "build", "--tag", image, *arguments, env={**os.environ, "DOCKER_BUILDKIT": "1"}, timeout_s=1800)


def build_part(name: str, image: str) -> None:
    """Build a stand-in for the public image of something that others make."""
    build(image, "--file", str(ROOT / "tests" / "container" / "parts.Dockerfile"), "--target", name, ".")


def build_with_model(image: str, service: str, model: Path, *arguments: str) -> None:
    """Build a service's image with an artefact inside, in a checkout whose home is the default one."""
    inside = f".scoregate/models/{service}/{model.name}"
    with tempfile.TemporaryDirectory() as folder:
        checkout(Path(folder))
        shutil.copytree(model, Path(folder) / inside)
        build(image, "--build-arg", f"SERVICE={service}", "--build-arg", f"MODEL={inside}", *arguments, folder)


def checkout(folder: Path) -> None:
    """Copy what images and the stack are made of; no home is there yet."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for part in ("services", "feature_repo", "requirements", "compose", "deploy", "helm"):
        shutil.copytree(ROOT / part, folder / part, ignore=ignored)
    for file in ("Dockerfile", ".dockerignore", "compose.yaml"):
        shutil.copy2(ROOT / file, folder)


def _builder() -> str:
    """Return a client that can do it: up to version 22 any can, from 23 on one that has the buildx plugin."""
    found = [shutil.which("docker", path=folder) for folder in os.get_exec_path()]
    for client in filter(None, found):
        major = run(client, "version", "--format", "{{.Client.Version}}").partition(".")[0]
        buildx = subprocess.run([client, "buildx", "version"], capture_output=True, check=False)
        if int(major) < 23 or buildx.returncode == 0:
            return client
    raise AssertionError("No `docker` on PATH can build with BuildKit: install its buildx plugin.")


@dataclass(frozen=True)
class Service:
    """A service in its container, and store and worker beside it."""

    compose: Any
    url: str
    key: str
    example: dict[str, Any]

    def post(self, body: dict[str, Any]) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.post(f"{self.url}/v1/fraud/score", json=body, headers=headers, timeout=10)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {self.key}"}, timeout=10)

    def fresh(self) -> dict[str, Any]:
        """The example, as a transaction that was not asked about before."""
        return {**self.example, "transaction_id": f"test-{uuid.uuid4().hex[:12]}"}

    def up(self, name: str) -> None:
        """Start a container and wait until it is healthy."""
        self.compose.execute(f"up --detach --wait --no-build {name}")

    def stop(self, name: str) -> None:
        self.compose.execute(f"stop --timeout 30 {name}")

    def signal(self, name: str, signal: str) -> None:
        self.compose.execute(f"kill --signal {signal} {name}")

    @contextmanager
    def paused(self, name: str) -> Iterator[None]:
        """Hold a container still for as long as the block lasts."""
        self.compose.execute(f"pause {name}")
        try:
            yield
        finally:
            self.compose.execute(f"unpause {name}")

    def inspect(self, name: str) -> dict[str, Any]:
        """What the engine knows of a container, running or not."""
        container = self.compose.execute(f"ps --all --quiet {name}").decode().strip()
        found: dict[str, Any] = json.loads(run("docker", "inspect", container))[0]
        return found

    def sh(self, script: str, name: str = "fraud") -> str:
        """Run a shell script inside a running container, as its user; its exit code does not matter."""
        container = self.compose.execute(f"ps --quiet {name}").decode().strip()
        return run("docker", "exec", container, "sh", "-c", script, check=False)
