"""Scoring processes of a script's own, which use the models, keys and feature store of a running stack."""

from __future__ import annotations

import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import psutil

from scoregate.local.plan import service_spec
from scoregate.local.processes import command
from scoregate.models.artefact import champion
from scoregate.settings import Settings

PATIENCE_S = 120.0


class Replica:
    """One process of a service, in a folder of its own; `settings` are what it has otherwise than the stack."""

    def __init__(self, stack: Settings, service: str, folder: Path, port: int, **settings: Any) -> None:
        own = stack.model_copy(
            update={
                "home": folder,
                "model_dir": champion(stack.models(service)),
                "registry": stack.registry_path,
                "keys_file": stack.keys_path,
                "hash_key_file": stack.hash_key_path,
                "log_requests": False,
                **settings,
            }
        )
        self.settings = own
        self.url = f"http://127.0.0.1:{port}"
        self.spec = replace(service_spec(own, service, arm="stable", port=port, revision=""), log=str(folder / "log"))
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)

    def start(self) -> None:
        """Start, without waiting until it is ready."""
        with Path(self.spec.log).open("ab") as log:
            self._process = subprocess.Popen(
                command(self.spec),
                stdout=log,
                stderr=log,
                cwd=self.spec.cwd,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Of the process that was started last."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_ready(self) -> bool:
        with suppress(urllib.error.URLError, OSError):
            return urllib.request.urlopen(f"{self.url}/readyz", timeout=1).status == 200  # noqa: S310 - our own
        return False

    def wait(self) -> None:
        """Wait until it takes requests.

        Raises:
            TimeoutError: it never does; its log says why.
        """
        until_s = time.monotonic() + PATIENCE_S
        while not self.is_ready:
            if time.monotonic() > until_s:
                raise TimeoutError(Path(self.spec.log).read_text()[-2000:])
            if self._process is not None and self._process.poll() is not None:
                # As the supervisor does: a port that BentoML found free for itself may be taken meanwhile.
                self.start()
            time.sleep(0.05)

    @contextmanager
    def running(self) -> Iterator[Self]:
        """Run it until the block ends; then it ends as it should, or at once where something failed.

        Raises:
            TimeoutError: it never takes requests.
        """
        self.start()
        try:
            self.wait()
            yield self
            self.stop()
        finally:
            self.kill()

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE_S)

    def kill(self) -> None:
        """`kill -9`, of its worker too, which BentoML puts into a session of its own."""
        if self._process is not None and self._process.poll() is None:
            kill(self._process.pid)
            self._process.wait()
        self._process = None


def kill(pid: int) -> None:
    """End a process and all that it started, at once."""
    with suppress(psutil.NoSuchProcess):
        whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        for one in whole:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(whole, timeout=10)


def environment_of(settings: Settings) -> dict[str, str]:
    """What a `scoregate` command needs to work on the ledger of these settings."""
    said = {name: value for name, value in settings.model_dump().items() if value is not None}
    return {**os.environ, **{f"SCOREGATE_{name.upper()}": str(value) for name, value in said.items()}}
