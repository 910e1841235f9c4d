"""Waiting for processes that do not become ready: whoever waits learns which one, why, and what its log says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import free_ports
from scoregate.local import StackError
from scoregate.local.ready import followed, wait_for, wait_until_ready
from scoregate.local.state import Desired, ProcessSpec, write_desired
from scoregate.local.supervisor import start_supervisor, stop_supervisor
from stack.running import start, upstream


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop_supervisor(tmp_path)


def wait(home: Path, timeout_s: float) -> None:
    wait_until_ready(home, f"http://127.0.0.1:{free_ports(1)[0]}", ["fraud"], timeout_s=timeout_s, note=lambda _: None)


def start_only(home: Path, spec: ProcessSpec) -> None:
    write_desired(home, Desired((spec,)))
    start_supervisor(home)


def test_process_that_falls_over_is_not_waited_for(home: Path) -> None:
    """A process that dies whenever it is started ends the waiting long before the time is up, with its last words."""
    spec = upstream(home, "fraud-stable", free_ports(1)[0])
    start_only(home, replace(spec, argv=(sys.executable, "-c", "raise SystemExit('no such model')")))

    with pytest.raises(StackError, match=r"fraud-stable ends whenever(.|\n)*no such model"):
        wait(home, timeout_s=600)


def test_process_that_is_not_ready_says_why(home: Path) -> None:
    """The answer of /readyz is in the message."""
    (home / "fraud-stable.unready").touch()
    start(home, upstream(home, "fraud-stable", free_ports(1)[0]))

    with pytest.raises(StackError, match=r"fraud-stable is not ready after 3 s\. It says"):
        wait(home, timeout_s=3)


def test_process_that_was_never_started_is_named(home: Path) -> None:
    """What the supervisor does not know of is not there."""
    start(home, upstream(home, "other", free_ports(1)[0]))

    with pytest.raises(StackError, match="fraud-stable was never started"):
        wait(home, timeout_s=0.2)


def test_what_does_not_come_up_shows_the_end_of_its_log(tmp_path: Path) -> None:
    """The last lines, not the first."""
    log = tmp_path / "valkey.log"
    log.write_text("".join(f"line {i}\n" for i in range(100)))

    with pytest.raises(StackError, match="line 99") as told:
        wait_for("The online store", lambda: False, log=log, timeout_s=0)

    assert "line 1\n" not in str(told.value)


def test_the_process_of_before_is_not_the_one_that_is_wanted(home: Path) -> None:
    """What runs counts as what is wanted only once the supervisor has started what the newest wish says."""
    spec = upstream(home, "fraud-stable", free_ports(1)[0])
    start(home, spec)
    wait_for("the first", lambda: followed(home), log=Path(spec.log), timeout_s=60)

    write_desired(home, Desired((replace(spec, revision="next"),)))

    assert not followed(home)
    wait_for("the next", lambda: followed(home), log=Path(spec.log), timeout_s=60)
