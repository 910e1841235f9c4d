"""The commands, each a real process: one sentence for what its user can mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def scoregate(home: Path, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SCOREGATE_")}
    return subprocess.run(
        [sys.executable, "-m", "scoregate", *words],
        env=kept | {"SCOREGATE_HOME": str(home)} | env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_down_of_nothing_is_no_error(tmp_path: Path) -> None:
    """`down` leaves nothing running, which may have been so before."""

    done = scoregate(tmp_path, "down")

    assert (0, "Nothing was running.\n") == (done.returncode, done.stdout)


def test_status_of_nothing_says_what_starts_it(tmp_path: Path) -> None:
    """The exit code tells a script, the sentence a person."""

    done = scoregate(tmp_path, "status")

    assert 1 == done.returncode
    assert "make up" in done.stdout


@pytest.mark.parametrize(("words", "env", "said"), [
    (("up",), {"SCOREGATE_BASE_PORT": "high"}, "SCOREGATE_BASE_PORT"),
    (("up",), {"SCOREGATE_BASE_PORT": "65500"}, "65535"),
    (("restart", "fraud"), {}, "make up"),
])  # fmt: skip
def test_what_the_user_can_mend_is_one_sentence(
    tmp_path: Path, words: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    """One sentence on standard error and exit code 1, never a traceback."""

    done = scoregate(tmp_path, *words, **env)

    assert 1 == done.returncode
    assert said in done.stderr
    assert 1 == len(done.stderr.strip().splitlines())
