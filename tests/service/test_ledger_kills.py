"""A killed scoring process, in short: `make ledger-kills` is the whole of it."""

from __future__ import annotations

import json
import subprocess
import sys

from conftest import ROOT, Stack


def test_what_is_acknowledged_outlives_a_kill(stack: Stack) -> None:
    """One of two replicas is killed under load, and keys are sent many times at once to both."""
    script = [sys.executable, "loadtest/ledger_kills.py", "--json", "--site", "sqlite", "--rounds", "1"]
    many = ["--keys", "3", "--at-once", "20", "--kills", "0"]

    ran = subprocess.run(
        [*script, *many], cwd=ROOT, env=stack.env, capture_output=True, text=True, timeout=240, check=False
    )

    assert 0 == ran.returncode, ran.stdout + ran.stderr
    killed, sent_at_once = json.loads(ran.stdout)["rounds"]
    assert ("kill a service", 3) == (killed["harm"], sent_at_once["acknowledged"])
    assert killed["acknowledged"] <= killed["decisions"]
