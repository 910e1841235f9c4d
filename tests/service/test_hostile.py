"""The short forms of two long shows: broken bodies, and requests generated from the OpenAPI documents."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from conftest import ROOT, Stack


def show(stack: Stack, *arguments: str) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, *arguments, "--json"]
    done = subprocess.run(command, cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=300, check=False)
    return done.returncode, json.loads(done.stdout or "{}")


def test_broken_bodies_crash_and_leak_nothing(stack: Stack) -> None:
    """Each is answered by a success or a problem, and no answer repeats what was sent."""
    code, found = show(stack, "loadtest/fuzz.py", "--bodies", "3000", "--most-growth-mb", "200")

    assert (0, 3000, []) == (code, found["bodies"], found["failures"])
    assert {"200", "202", "400", "422"} <= found["statuses"].keys()


def test_generated_requests_find_nothing(stack: Stack) -> None:
    """All checks of schemathesis hold for one service; the long show asks all."""
    code, found = show(stack, "loadtest/conformance.py", "--service", "kyc", "--requests", "300")

    assert (0, True) == (code, found["requests"] >= 300), found
