"""Where the gateway's files are, whose turn it is to change a service's, and the way back; nothing slow is imported.

<home>/run/gateway/routes/<service>.yml  what the gateway reads
<home>/run/gateway/back/<service>.yml    the same with everything on stable: the way back, there before it is needed
<home>/run/gateway/<service>.lock        held while a service's files change together, for milliseconds
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def gateway_dir(home: Path) -> Path:
    return home / "run" / "gateway"


def routes_dir(home: Path) -> Path:
    return gateway_dir(home) / "routes"


def route_file(home: Path, service: str) -> Path:
    return routes_dir(home) / f"{service}.yml"


def way_back(home: Path, service: str) -> Path:
    return gateway_dir(home) / "back" / f"{service}.yml"


def go_back(home: Path, service: str) -> None:
    """Send everything to the stable arm, wherever its process is now; in effect within 0.1 s."""
    # The temporary file lies outside of the watched folder.
    temporary = gateway_dir(home) / f".{service}.{os.getpid()}"
    temporary.write_bytes(way_back(home, service).read_bytes())
    temporary.replace(route_file(home, service))


@contextmanager
def turn(home: Path, service: str) -> Iterator[None]:
    """Let one command at a time change a service's arms. Never held while anything is waited for: going back must not
    wait."""
    gateway_dir(home).mkdir(parents=True, exist_ok=True)
    with (gateway_dir(home) / f"{service}.lock").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
