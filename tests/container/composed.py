"""The whole stack of compose.yaml in a checkout of its own, asked through its gateway."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import httpx

from container import engine

SERVICE = "fraud"
"""The one that load and canaries are tried on."""
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Composed:
    """A running stack: how Compose is told, where the gateway is, what opens it."""

    compose: Any
    project: str
    url: str
    key: str

    def ask(self, service: str = SERVICE, client: httpx.Client | None = None) -> httpx.Response:
        """Ask for a decision about the service's example, under a natural key that was not asked about before."""
        contract = import_module(f"{service}.contract")
        body = {**contract.EXAMPLE, contract.Request.NATURAL_KEY: f"t-{uuid.uuid4().hex[:12]}"}
        send = client.post if client else httpx.post
        headers = {"authorization": f"Bearer {self.key}"}
        return send(f"{self.url}/v1/{service}/score", json=body, headers=headers, timeout=PATIENCE_S)

    def post(self, client: httpx.Client) -> httpx.Response:
        return self.ask(client=client)

    def get(self, path: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx.get(self.url + path, headers=headers, timeout=PATIENCE_S)

    def up(self, *names: str) -> None:
        """Start containers, all when none is named, and wait until they are healthy."""
        no_more = "--no-deps" if names else ""
        self.compose.execute(f"up --detach --wait --no-build {no_more} {' '.join(names)}")

    def weigh(self, percent: int) -> None:
        self.compose.execute(f"exec -T beside python -m scoregate gateway weigh {SERVICE} {percent}")

    def containers(self) -> list[dict[str, Any]]:
        """What the engine knows of every container, jobs included."""
        found = self.compose.execute("ps --all --quiet").decode().split()
        inspected: list[dict[str, Any]] = json.loads(engine.run("docker", "inspect", *found))
        return inspected

    def inside(self, script: str) -> str:
        """Run Python where the gateway's neighbours are, on the network that nobody else is on."""
        return engine.run("docker", "exec", f"{self.project}-beside-1", "python", "-c", script)

    def prometheus(self, path: str) -> Any:
        said = self.inside(
            f"import urllib.request as u; print(u.urlopen('http://prometheus:9090/api/v1/{path}').read().decode())"
        )
        return json.loads(said)["data"]

    def traces(self) -> list[dict[str, Any]]:
        """What the Collector has kept, each line an export request."""
        volume = f"--volume={self.project}_traces:/traces:ro"
        file = "/traces/traces.jsonl"
        command = ("sh", "-c", f"test ! -e {file} || cat {file}")
        said = engine.run("docker", "run", "--rm", "--user=10001", volume, "scoregate-test/valkey", *command)
        return [json.loads(line) for line in said.splitlines() if line.endswith("}")]
