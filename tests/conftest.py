"""The running stack that service tests share: `scoregate up` in a home and on ports of its own."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

# Before Feast, which sets a folder for series of several processes: whoever imports the library after that has values
# that all registries share.
import prometheus_client  # noqa: F401
import pytest

import otlp
from scoregate import catalog
from scoregate.serving.keyfile import KeyFile

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 60.0
"""For whatever is expected to succeed, on whatever machine."""


def free_ports(count: int) -> list[int]:
    """Ports that are free now; held together until all are found, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


def free_block(size: int) -> int:
    """First port of a block in which every port is free now."""
    for base in range(23_000, 31_000, size):
        held = []
        try:
            for port in range(base, base + size):
                one = socket.socket()
                held.append(one)
                one.bind(("127.0.0.1", port))
        except OSError:
            continue
        else:
            return base
        finally:
            for one in held:
                one.close()
    raise RuntimeError("no block of free ports")


def until(holds: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait for what another process does; fail when it does not."""
    last = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < last, "it did not come to pass"
        time.sleep(0.2)


@dataclass
class Stack:
    """A running local stack: where its state is, where it listens, what opens it."""

    home: Path
    url: str
    key: str
    env: dict[str, str]
    spans: otlp.Spans

    def scoregate(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """Run the `scoregate` command against this stack."""
        return subprocess.run(
            [sys.executable, "-m", "scoregate", *arguments],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def post(self, service: str, body: Any, key: str | None = None, **headers: str) -> httpx.Response:
        """Ask for a score through the gateway; `body` is JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {key or self.key}", "content-type": "application/json", **headers}
        return httpx.post(f"{self.url}/v1/{service}/score", content=content, headers=sent, timeout=PATIENCE_S)

    def get(self, path: str, key: str | None = None) -> httpx.Response:
        return httpx.get(self.url + path, headers={"authorization": f"Bearer {key or self.key}"}, timeout=PATIENCE_S)

    def restricted_key(self, *scopes: str) -> str:
        """Add a key with these scopes to the stack's keys, and wait until every service knows it."""
        key = KeyFile(self.home / "keys.json").create(f"t-{secrets.token_hex(4)}", scopes)
        for service in catalog.services():
            until(lambda path=f"/v1/{service}/model": self.get(path, key).status_code != 401)
        return key


def stack_env(home: Path) -> dict[str, str]:
    """The environment of a stack of its own: another home, other ports, less to train on, more time."""
    gateway, store = free_ports(2)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SCOREGATE_", "OTEL_"))}
    return {
        **kept,
        "SCOREGATE_HOME": str(home),
        "SCOREGATE_GATEWAY_PORT": str(gateway),
        "SCOREGATE_STORE_URL": f"redis://127.0.0.1:{store}/0",
        "SCOREGATE_BASE_PORT": str(free_block(100)),
        "SCOREGATE_TRAIN_ROWS": "8000",
        "SCOREGATE_ENV": "development",
        # What is tried is what is answered, not how soon: a slow machine must not fall down the ladder.
        "SCOREGATE_DEADLINE_MS": "20000",
        "SCOREGATE_BATCH_DEADLINE_MS": "60000",
        "SCOREGATE_STORE_TIMEOUT_MS": "5000",
    }


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One stack for the whole run; a test that breaks something mends it."""
    folder = tmp_path_factory.mktemp("stack")
    # A home that a developer keeps between runs saves the training; without one everything is made from nothing.
    home = Path(os.environ.get("SCOREGATE_TEST_HOME", folder / "home"))
    with otlp.endpoint(folder, *free_ports(1)) as spans:
        env = {**stack_env(home), "SCOREGATE_OTLP_ENDPOINT": spans.endpoint, "SCOREGATE_TRACE_RATIO": "1"}
        running = Stack(home, f"http://127.0.0.1:{env['SCOREGATE_GATEWAY_PORT']}", "", env, spans)
        up = running.scoregate("up", timeout_s=600)
        assert up.returncode == 0, up.stdout + up.stderr
        running.key = (home / "demo.key").read_text().strip()
        yield running
        down = running.scoregate("down")
        assert down.returncode == 0, down.stdout + down.stderr
