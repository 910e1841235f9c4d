"""The real supervisor and real processes: what dies comes back, what is stopped is gone, and nothing else is."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from conftest import free_ports
from scoregate.local.processes import alive, mark_of
from scoregate.local.state import Stage, read_desired, write_desired
from scoregate.local.supervisor import end_leftovers, start_supervisor, stop_supervisor, supervisor_of
from scoregate.local.valkey import answers, valkey_spec
from stack.running import call, eventually, listening, pid_of, running, start, upstream


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    stop_supervisor(tmp_path)


def store_call(port: int, *words: str) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(" ".join(words).encode() + b"\r\n")
        return connection.recv(1024)


def kill(pid: int | None) -> None:
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def test_killed_child_comes_back(home: Path) -> None:
    """A child that dies is started again, and the status says so."""

    port = free_ports(1)[0]
    start(home, upstream(home, "fraud", port))
    before = pid_of(home, "fraud")

    kill(before)
    eventually(lambda: pid_of(home, "fraud") not in (None, before))
    eventually(lambda: listening(port))

    assert call(port, "/").json()["pid"] == pid_of(home, "fraud")
    found = running(home, "fraud")
    assert found is not None
    assert 1 == found.restarts


def test_worker_of_a_killed_child_does_not_stay(home: Path) -> None:
    """A worker in its own session is ended with its parent: else it would keep the port, and an old model."""

    start(home, upstream(home, "fraud", free_ports(1)[0], "--worker"))
    eventually((home / "worker.pid").exists)
    eventually((home / "worker.pid").read_text)
    worker = int((home / "worker.pid").read_text())

    kill(pid_of(home, "fraud"))

    eventually(lambda: not psutil.pid_exists(worker))


def test_nothing_survives_a_killed_supervisor(home: Path) -> None:
    """Children end with their supervisor, however it ends."""

    ports = free_ports(2)
    start(home, upstream(home, "fraud", ports[0]), upstream(home, "kyc", ports[1]))
    children = [pid_of(home, "fraud"), pid_of(home, "kyc")]

    kill(supervisor_of(home).pid)  # type: ignore[union-attr]

    eventually(lambda: not any(pid and psutil.pid_exists(pid) for pid in children))
    assert [False, False] == [listening(port) for port in ports]


def test_down_leaves_no_process_and_no_port(home: Path) -> None:
    """Stopping ends every child and the supervisor, and frees every port, the problem pages' too."""

    ports = free_ports(3)
    start(home, upstream(home, "fraud", ports[0]), upstream(home, "kyc", ports[1]), problems_port=ports[2])
    supervisor = supervisor_of(home)
    pids = [pid_of(home, "fraud"), pid_of(home, "kyc"), supervisor and supervisor.pid]

    assert ["fraud", "kyc"] == stop_supervisor(home)

    assert [False] * 3 == [bool(pid and psutil.pid_exists(pid)) for pid in pids]
    assert [False] * 3 == [listening(port) for port in ports]
    assert [] == stop_supervisor(home)


def test_nothing_runs_on_without_its_state(home: Path) -> None:
    """Deleting the state folder ends everything: children that write into deleted files would lose what they said."""
    port = free_ports(1)[0]
    start(home, upstream(home, "fraud-stable", port))
    eventually(lambda: listening(port))
    supervisor = supervisor_of(home)
    assert supervisor is not None

    shutil.rmtree(home)

    eventually(lambda: alive(supervisor) is None and not listening(port))


def test_down_stops_the_gateway_first_and_the_store_last(home: Path) -> None:
    """No request is let in that nobody can answer, and the services still have their store while they drain."""

    ports = free_ports(3)
    start(
        home,
        upstream(home, "store", ports[0], stage=Stage.STORE),
        upstream(home, "service", ports[1], stage=Stage.SERVICE),
        upstream(home, "front", ports[2], stage=Stage.GATEWAY),
    )

    stop_supervisor(home)

    assert ["front", "service", "store"] == (home / "stopped").read_text().split()


def test_down_after_a_kill_ends_what_is_left_and_nothing_else(home: Path) -> None:
    """Leftovers are known by pid and birth: a process that has an old pid by chance is somebody else's."""

    start(home, upstream(home, "fraud", free_ports(1)[0], "--stubborn"))
    left = pid_of(home, "fraud")
    kill(supervisor_of(home).pid)  # type: ignore[union-attr]
    eventually(lambda: supervisor_of(home) is None)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as stranger:
        assert left is not None
        assert psutil.pid_exists(left)

        assert ["fraud"] == stop_supervisor(home)

        assert not psutil.pid_exists(left)
        assert stranger.poll() is None
        stranger.kill()


def test_process_of_another_birth_is_not_ours() -> None:
    """The same pid with another birth is another process."""

    mine = mark_of(os.getpid())

    assert mine is not None
    assert alive(mine) is not None
    assert alive(replace(mine, birth="another boot:1")) is None


def test_supervisor_ends_leftovers_before_it_starts(home: Path) -> None:
    """A supervisor that follows a killed one takes over the ports, not a second process on each."""

    port = free_ports(1)[0]
    start(home, upstream(home, "fraud", port, "--stubborn"))
    before = pid_of(home, "fraud")
    kill(supervisor_of(home).pid)  # type: ignore[union-attr]
    eventually(lambda: supervisor_of(home) is None)

    start_supervisor(home)
    eventually(lambda: pid_of(home, "fraud") not in (None, before) and listening(port))

    assert before is not None
    assert not psutil.pid_exists(before)


def test_second_supervisor_of_one_home_gives_way(home: Path) -> None:
    """One state folder has one supervisor."""

    start(home, upstream(home, "fraud", free_ports(1)[0]))
    first = supervisor_of(home)

    with pytest.raises(TimeoutError):
        start_supervisor(home)

    assert first == supervisor_of(home)


def test_only_what_changed_is_started_anew(home: Path) -> None:
    """A new revision of one process leaves the others running."""

    ports = free_ports(2)
    fraud, kyc = upstream(home, "fraud", ports[0]), upstream(home, "kyc", ports[1])
    start(home, fraud, kyc)
    before = pid_of(home, "fraud"), pid_of(home, "kyc")

    start(home, replace(fraud, revision="2"), kyc)
    eventually(lambda: pid_of(home, "fraud") not in (None, before[0]))

    assert before[1] == pid_of(home, "kyc")


def test_what_is_no_longer_wanted_is_stopped(home: Path) -> None:
    """Taking a process out of the desired state ends it."""

    ports = free_ports(2)
    fraud, canary = upstream(home, "fraud", ports[0]), upstream(home, "canary", ports[1])
    start(home, fraud, canary)

    start(home, fraud)

    eventually(lambda: not listening(ports[1]))
    assert listening(ports[0])


def test_child_gets_its_environment(home: Path) -> None:
    """A value is set and None takes a variable away, beyond what the supervisor has."""

    spec = upstream(home, "fraud", free_ports(1)[0])
    start(home, replace(spec, env={"SCOREGATE_ARM": "canary", "PATH_OF_NO_USE": None}))
    pid = pid_of(home, "fraud")

    assert pid is not None
    assert "canary" == psutil.Process(pid).environ()["SCOREGATE_ARM"]


def test_program_that_cannot_start_is_tried_again(home: Path) -> None:
    """A missing program is no end of the supervisor; it is in the log, and the others run."""

    ports = free_ports(2)
    start(home, upstream(home, "fraud", ports[0]))
    missing = replace(upstream(home, "kyc", ports[1]), argv=("/nowhere/at-all",))

    write_desired(home, replace(read_desired(home), processes=(upstream(home, "fraud", ports[0]), missing)))
    eventually(lambda: (each := running(home, "kyc")) and each.restarts >= 2)

    assert "cannot be started" in Path(missing.log).read_text()
    assert listening(ports[0])


def test_store_keeps_what_it_was_told(home: Path) -> None:
    """What the online store acknowledged is there after down and up."""

    port = free_ports(1)[0]
    start(home, valkey_spec(home, port))
    eventually(lambda: answers(port))
    assert b"+OK\r\n" == store_call(port, "SET", "tile", "7")

    stop_supervisor(home)
    start(home, valkey_spec(home, port))
    eventually(lambda: answers(port))

    assert b"$1\r\n7\r\n" == store_call(port, "GET", "tile")


def test_leftovers_of_nothing_are_nothing(tmp_path: Path) -> None:
    """Without a record, nobody is ended."""

    assert [] == end_leftovers(tmp_path)
