"""Starts the real supervisor with given processes under a temporary home, and speaks HTTP to what it runs."""

from __future__ import annotations

import http.client
import json
import socket
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoregate.local.state import Desired, ProcessSpec, Running, Stage, read_status, run_dir, write_desired
from scoregate.local.supervisor import start_supervisor, supervisor_of

UPSTREAM = Path(__file__).parent / "upstream.py"
PATIENCE_S = 60.0


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(
    port: int, path: str, *, method: str = "GET", body: Any = None, headers: Mapping[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(method, path, body=body, headers=dict(headers or {}))
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def eventually(holds: Callable[[], object], patience_s: float = PATIENCE_S) -> None:
    """Wait for what must come to pass, however slow the machine; fail when it does not."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.02)


def upstream(home: Path, name: str, port: int, *options: str, stage: Stage = Stage.SERVICE) -> ProcessSpec:
    return ProcessSpec(
        name=name,
        argv=(sys.executable, str(UPSTREAM), str(port), name, str(home), *options),
        log=str(run_dir(home) / f"{name}.log"),
        stage=stage,
        port=port,
        health_url=f"http://127.0.0.1:{port}/readyz",
        # Long enough to end by itself; what ignores the signal need not be waited for.
        stop_s=2.0 if "--stubborn" in options else 20.0,
    )


def start(home: Path, *processes: ProcessSpec, problems_port: int = 0, max_body_bytes: int = 1_048_576) -> None:
    write_desired(home, Desired(tuple(processes), problems_port, max_body_bytes))
    if supervisor_of(home) is None:
        start_supervisor(home)
    eventually(lambda: all(listening(spec.port) for spec in processes))


def running(home: Path, name: str) -> Running | None:
    status = read_status(home)
    return next((each for each in status.running if each.name == name), None) if status else None


def pid_of(home: Path, name: str) -> int | None:
    found = running(home, name)
    return found.mark.pid if found and found.mark else None
