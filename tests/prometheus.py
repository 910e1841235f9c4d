"""A real Prometheus server for tests, that scrapes what a test serves."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import free_ports

NOT_INSTALLED = "The program `prometheus` of Debian's package is not on PATH, so what asks a real server did not run."
READY_S = 60.0


@contextmanager
def scraping(targets: Sequence[str], folder: Path, interval_s: float = 0.2) -> Iterator[str]:
    """Run a server that scrapes these hosts; yield its URL. Its absence is a skip that is said."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip(NOT_INSTALLED)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    job = {"job_name": "services", "static_configs": [{"targets": list(targets)}]}
    every = f"{round(interval_s * 1000)}ms"
    config = {"global": {"scrape_interval": every, "scrape_timeout": every}, "scrape_configs": [job]}
    # JSON is YAML too.
    (folder / "prometheus.yml").write_text(json.dumps(config))
    flags = {"config.file": "prometheus.yml", "storage.tsdb.path": "data", "web.listen-address": address}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, *(f"--{name}={value}" for name, value in flags.items())], cwd=folder, stdout=log, stderr=log
        )
    try:
        _wait_until_ready(f"http://{address}", folder)
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(url: str, folder: Path) -> None:
    deadline_s = time.monotonic() + READY_S
    while time.monotonic() < deadline_s:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError((folder / "log").read_text()[-2000:])
