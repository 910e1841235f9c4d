"""One child process, and processes by pid and birth."""

from __future__ import annotations

import os
import subprocess
import sys

from scoregate.local.processes import alive, command, end, mark_of
from scoregate.local.state import ProcessSpec, Stage


def spec(**rest: object) -> ProcessSpec:
    return ProcessSpec("x", ("program", "-v"), "/log", Stage.SERVICE, 1, **rest)  # type: ignore[arg-type]


def test_environment_is_changed_by_the_command_itself() -> None:
    """Nothing here reads the environment; `env` sets and unsets for the child."""

    found = command(spec(env={"A": "1", "B": None}))

    assert ["env", "-u", "B", "A=1", "program", "-v"] == found


def test_unchanged_environment_needs_no_env() -> None:
    """Without changes the program is started as it is."""

    assert ["program", "-v"] == command(spec())


def test_mark_of_a_running_process_stays_the_same() -> None:
    """The birth of a process does not change while it lives, whatever is done to the clock."""

    first, second = mark_of(os.getpid()), mark_of(os.getpid())

    assert first is not None
    assert first == second


def test_no_process_has_no_mark() -> None:
    """A pid nobody has, and one that is gone."""
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()

    assert mark_of(gone.pid) is None


def test_end_makes_the_unwilling_end() -> None:
    """Who ignores the question is not asked twice; whoever is gone already does not count."""
    ignoring = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", ignoring], stdout=subprocess.PIPE) as stubborn:
        assert stubborn.stdout is not None
        stubborn.stdout.readline()
        mark = mark_of(stubborn.pid)
        assert mark is not None

        counts = end([mark], grace_s=0.1), end([mark], grace_s=0.1)

        assert (1, 0) == counts
        assert alive(mark) is None
