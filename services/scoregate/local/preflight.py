"""What would stop the stack, found before anything is started, each in a sentence that says what to do."""

from __future__ import annotations

import ctypes
import importlib.util
import re
import shutil
import socket
from collections.abc import Collection, Iterable
from pathlib import Path

import psutil

from scoregate.local import StackError
from scoregate.local.plan import LARGEST_HOUSE, Ports
from scoregate.local.traefik import HOST

COLD_BYTES = 1_500 * 1_048_576
"""Free space for data, models and store from nothing."""
WARM_BYTES = 200 * 1_048_576

PROGRAMS = {"xgboost": "lib/libxgboost.so", "treelite": "lib/libtreelite.so"}
APT_PACKAGES = {"libgomp.so.1": "libgomp1", "libstdc++.so.6": "libstdc++6", "libz.so.1": "zlib1g"}


def check_ports(ports: Ports, ours: Collection[int]) -> None:
    """Refuse a port that somebody else listens on; `ours` are pids of the running stack.

    Raises:
        StackError: names every such port, its holder where that is known, and the setting that moves it.
    """
    named = ports.named()
    if max(named) > 65_535 or min(named) < 1:
        raise StackError(
            "A port is not between 1 and 65535: choose SCOREGATE_BASE_PORT and SCOREGATE_GATEWAY_PORT lower."
        )
    wanted = [ports.gateway, ports.store, ports.metrics, ports.problems, *ports.stable.values()]
    if len(set(wanted)) < len(wanted):
        raise StackError("Two parts of the stack have the same port: choose another SCOREGATE_BASE_PORT.")
    said = []
    for port, (what, setting) in named.items():
        if not taken(port):
            continue
        pid = holder(port)
        if pid is not None and pid in ours:
            continue
        move = "redis://127.0.0.1:<port>/0" if setting == "SCOREGATE_STORE_URL" else "a free port"
        said.append(f"Port {port}, for {what}, is taken by {_who(pid)}: stop that, or set {setting} to {move}.")
    if said:
        raise StackError("\n".join(said))


def taken(port: int) -> bool:
    with socket.socket() as probe:
        # Without it, connections of a stack that has just been stopped would count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
        return False


def holder(port: int) -> int | None:
    """Pid of who listens on the port; None where the system does not tell."""
    try:
        listening = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    return next((c.pid for c in listening if c.status == psutil.CONN_LISTEN and c.laddr and c.laddr.port == port), None)


def _who(pid: int | None) -> str:
    if pid is None:
        return "another program"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"the process {pid}"


def check_disk(home: Path, *, cold: bool) -> None:
    """Raises StackError when what is free would not last."""
    home.mkdir(parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(home).free, COLD_BYTES if cold else WARM_BYTES
    if free < needed:
        raise StackError(
            f"Only {free // 1_048_576} MB are free where {home} lies and about {needed // 1_048_576} MB are needed: "
            "free some space, or set SCOREGATE_HOME to a folder on another disk."
        )


def check_libraries(programs: Iterable[tuple[str, str]] = tuple(PROGRAMS.items())) -> None:
    """Load the native libraries of the models without importing their packages.

    Raises:
        StackError: names the missing system library and Debian's package of it.
    """
    for package, library in programs:
        found = importlib.util.find_spec(package)
        if found is None or not found.submodule_search_locations:
            raise StackError(f"The Python package {package} is not installed: run `make up`, which installs the lock.")
        path = Path(next(iter(found.submodule_search_locations))) / library
        if not path.exists():
            continue
        try:
            ctypes.CDLL(str(path))
        except OSError as error:
            raise StackError(missing_library(package, str(error))) from error


def missing_library(package: str, message: str) -> str:
    """The loader's message as a sentence with a remedy."""
    match = re.search(r"(lib[\w+\-.]+\.so[.\d]*): cannot open", message)
    if not match:
        return f"The native library of {package} cannot be loaded: {message}."
    name = match[1]
    remedy = f"apt install {APT_PACKAGES[name]}" if name in APT_PACKAGES else f"the system package that has {name}"
    return f"{package} needs the system library {name}, which is not here: install it (on Debian and Ubuntu: {remedy})."


def check_services(services: list[str]) -> None:
    if not services:
        raise StackError("No service was found: a folder in services/ with a service.py is one.")
    if len(services) > LARGEST_HOUSE:
        raise StackError(f"One machine's ports are planned for {LARGEST_HOUSE} services, {len(services)} were found.")
