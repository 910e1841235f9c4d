"""The script that `helm test` runs in the cluster, against a door that listens here."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "helm" / "scoregate" / "files" / "helm_test.py"


@pytest.fixture(params=[401, 200], ids=["closed", "open"])
def door(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """URL of a service that is ready, and the status with which it answers who has no key."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200 if self.path == "/readyz" else 404)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(request.param if self.path == "/v1/fraud/score" else 404)

        def answer(self, status: int) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Door)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", request.param
    server.shutdown()
    thread.join()
    server.server_close()


def test_passes_only_where_the_door_is_closed(door: tuple[str, int]) -> None:
    """A service that decides for who has no key fails the test, ready or not."""
    url, without_key = door
    ran = subprocess.run([sys.executable, SCRIPT, "fraud", "", url], capture_output=True, text=True, check=False)

    assert f"ok   {url} is ready: 200, expected 200" in ran.stdout
    assert (0 if without_key == 401 else 1) == ran.returncode


def test_fails_where_nothing_answers() -> None:
    """An arm that does not answer fails the test, and is named."""
    ran = subprocess.run(
        [sys.executable, SCRIPT, "fraud", "", "http://127.0.0.1:1"], capture_output=True, text=True, check=False
    )

    assert 1 == ran.returncode
    assert "FAIL http://127.0.0.1:1 is ready: no answer, expected 200" in ran.stdout
