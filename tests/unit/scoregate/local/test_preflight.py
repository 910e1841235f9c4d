"""What would stop the stack is said in a sentence before anything is started."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from scoregate.local import StackError, preflight
from scoregate.local.plan import Ports


def planned(gateway: int) -> Ports:
    return Ports(
        gateway=gateway,
        worker=20_996,
        metrics=20_998,
        problems=20_999,
        stand_in=20_995,
        store=None,
        stable={"fraud": 20_997},
        canary={},
    )


def test_taken_port_names_port_holder_and_setting() -> None:
    """Whoever reads it knows what holds the port and what to set."""

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(StackError) as told:
            preflight.check_ports(planned(port), ours=set())

    assert f"Port {port}, for the gateway" in str(told.value)
    assert f"pid {os.getpid()}" in str(told.value)
    assert "SCOREGATE_GATEWAY_PORT" in str(told.value)


def test_port_of_our_own_stack_is_no_obstacle() -> None:
    """A warm start finds its own processes on their ports."""

    with socket.create_server(("127.0.0.1", 0)) as other:
        preflight.check_ports(planned(other.getsockname()[1]), ours={os.getpid()})


def test_two_parts_on_one_port_are_refused() -> None:
    """A gateway port in the middle of the services' would be found out only when one of them fails."""

    with pytest.raises(StackError, match="same port"):
        preflight.check_ports(planned(20_997), ours=set())


def test_port_out_of_range_is_refused() -> None:
    """Ports end at 65535."""

    with pytest.raises(StackError, match="65535"):
        preflight.check_ports(planned(70_000), ours=set())


@pytest.mark.parametrize(("message", "package"), [
    ("libgomp.so.1: cannot open shared object file: No such file or directory", "libgomp1"),
    ("libstdc++.so.6: cannot open shared object file: No such file or directory", "libstdc++6"),
])  # fmt: skip
def test_missing_library_names_its_package(message: str, package: str) -> None:
    """The loader names a file; whoever reads it needs the package."""

    assert f"apt install {package})" in preflight.missing_library("xgboost", message)


def test_unknown_missing_library_is_named_itself() -> None:
    """A library that no package is known of is still named."""

    assert "libodd.so.3" in preflight.missing_library("xgboost", "libodd.so.3: cannot open shared object file")


def test_library_that_does_not_load_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A native library that is there and cannot be loaded stops the start, not the first request."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").touch()
    (tmp_path / "broken" / "lib.so").write_bytes(b"no library")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(StackError, match="broken"):
        preflight.check_libraries([("broken", "lib.so")])


def test_libraries_of_this_environment_load() -> None:
    """The models' libraries load on this machine, or their tests could not run either."""

    preflight.check_libraries()


def test_disk_without_room_says_how_much_is_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is found before half of the data is written."""
    monkeypatch.setattr(preflight, "COLD_BYTES", 2**62)

    with pytest.raises(StackError, match="SCOREGATE_HOME"):
        preflight.check_disk(tmp_path, cold=True)


def test_house_without_services_is_said() -> None:
    """An empty house has nothing to start."""

    with pytest.raises(StackError, match=r"service\.py"):
        preflight.check_services([])
