"""The load test judges a run by its limits: held, exit code 0; broken, exit code 1 and the limit named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from conftest import ROOT, Stack


def locust(stack: Stack, limits: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "locust", "-f", "loadtest/locustfile.py", "--headless", "--only-summary"]
    command += ["--users", "6", "--spawn-rate", "6", "--run-time", "5s", "--limits", str(limits)]
    return subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=120, check=False)


def write(path: Path, p99_ms: float) -> Path:
    # Generous but for the one under test: this tests the verdict, not this machine's speed.
    path.write_text(f"fail_ratio = 0.0\np50_ms = 60000\np99_ms = {p99_ms}\nleast_requests = 10\n")
    return path


def test_held_limits_pass(stack: Stack, tmp_path: Path) -> None:
    """Every request is answered by the model, and the run exits with 0."""
    run = locust(stack, write(tmp_path / "limits.toml", 60_000))

    assert (0, True) == (run.returncode, "limits: held" in run.stdout), run.stdout + run.stderr


def test_an_impossible_limit_fails(stack: Stack, tmp_path: Path) -> None:
    """No answer takes a microsecond: the run exits with 1 and says which limit was broken."""
    run = locust(stack, write(tmp_path / "limits.toml", 0.001))

    assert (1, True) == (run.returncode, "limits: broken: p99_ms" in run.stdout), run.stdout + run.stderr
