"""A stack of one's own, in a home and on ports that nobody else has, for as long as a block runs."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from goldens import requests_of

from scoregate import catalog
from scoregate.local.state import read_status
from scoregate.settings import ROOT, Settings

_run, _serial = uuid.uuid4().hex[:8], itertools.count()


@dataclass(frozen=True, slots=True)
class Own:
    """A running stack: its settings, and the environment in which `scoregate` means it."""

    settings: Settings
    env: dict[str, str]

    @property
    def key(self) -> str:
        return (self.settings.home / "demo.key").read_text().strip()

    def scoregate(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "scoregate", *arguments]
        return subprocess.run(command, env=self.env, cwd=ROOT, check=check, stdout=sys.stderr)

    def pids(self, name: str) -> list[int]:
        """Pids of a process and of its own children, those last; empty while it does not run."""
        status = read_status(self.settings.home)
        for each in status.running if status else ():
            if each.name == name and each.mark:
                return [each.mark.pid, *(child.pid for child in each.offspring)]
        return []

    def bodies(self, service: str) -> Callable[[], bytes]:
        """Return a maker of requests like those that the model was accepted with, each with an id of its own."""
        natural_key = catalog.part(service, "contract").Request.NATURAL_KEY
        turns = itertools.cycle(requests_of(service, self.settings))
        return lambda: json.dumps({**next(turns), natural_key: f"load-{_run}-{next(_serial)}"}).encode()


@contextlib.contextmanager
def own_stack(home: Path, **said: str) -> Iterator[Own]:
    """Run a stack in a home, made from nothing there if need be; `said`: further settings by name."""
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    gateway, store = (one.getsockname()[1] for one in held)
    for one in held:
        one.close()
    settings = {
        "HOME": str(home.resolve()),
        "GATEWAY_PORT": str(gateway),
        "STORE_URL": f"redis://127.0.0.1:{store}/0",
        "BASE_PORT": str(_free_block()),
        # Fewer hold too few bad records for a calibration that its gate lets pass.
        "TRAIN_ROWS": "8000",
        "ENV": "development",
        **said,
    }
    env = {**os.environ, **{f"SCOREGATE_{name}": value for name, value in settings.items()}}
    own = Own(Settings(**{name.lower(): value for name, value in settings.items()}), env)  # type: ignore[arg-type]
    try:
        own.scoregate("up")
        yield own
    finally:
        own.scoregate("down")


def _free_block(size: int = 100) -> int:
    for base in range(24_000, 31_000, size):
        with contextlib.suppress(OSError), contextlib.ExitStack() as held:
            for port in range(base, base + size):
                held.enter_context(socket.create_server(("127.0.0.1", port)))
            return base
    raise LookupError("no block of free ports")
