"""A real PostgreSQL server for tests, in a folder of its own, that can be killed and started again."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest

from conftest import free_ports

NOT_INSTALLED = "PostgreSQL's programs are not in /usr/lib/postgresql/*/bin, so what needs its server did not run."


def programs() -> Path | None:
    """Folder of the newest `initdb` that Debian's package, or the PATH, has."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


class Server:
    """One server, on a free port of 127.0.0.1, on what the folder has already. It does not run as root, so root lends
    the folder to `postgres`."""

    def __init__(self, bin_: Path, folder: Path) -> None:
        self.port = free_ports(1)[0]
        self._bin = bin_
        self._folder = folder
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        if self._user:
            shutil.chown(folder, self._user)
        if (folder / "data").exists():
            return
        initdb = [str(bin_ / "initdb"), "--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8"]
        subprocess.run(
            [*initdb, "--locale=C", str(folder / "data")], check=True, capture_output=True, user=self._user, cwd=folder
        )

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and wait until it takes connections; after a kill its children may need a moment to go."""
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if self._process is None or self._process.poll() is not None:
                self._process = self._spawn()
            ready = [str(self._bin / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
            if subprocess.run(ready, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise RuntimeError((self._folder / "log").read_text()[-2000:])

    def _spawn(self) -> subprocess.Popen[bytes]:
        options = {"listen_addresses": "127.0.0.1", "port": self.port, "unix_socket_directories": self._folder}
        flags = [flag for name, value in options.items() for flag in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("ab") as log:
            command = [str(self._bin / "postgres"), "-D", str(self._folder / "data"), *flags]
            return subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self._folder)

    def kill(self) -> None:
        """End it and its children as a power cut would: their memory is gone, what they wrote is not."""
        if self._process and self._process.poll() is None:
            whole = [psutil.Process(self._process.pid), *psutil.Process(self._process.pid).children()]
            for one in whole:
                with suppress(psutil.NoSuchProcess):
                    one.kill()
            self._process.wait()
            psutil.wait_procs(whole[1:], timeout=10)

    def stop(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(3)  # SIGQUIT: at once, children too
            self._process.wait()

    def new_url(self) -> str:
        """Return the address of a new and empty schema."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        self.run(f"CREATE SCHEMA {name}")
        return f"{self.url}?search_path={name}"

    def run(self, sql: str, url: str | None = None) -> str:
        """Run one statement; return its status, `UPDATE 1` or the like."""

        async def told() -> str:
            connection = await asyncpg.connect(url or self.url)
            try:
                return str(await connection.execute(sql))
            finally:
                await connection.close()

        return asyncio.run(told())


def started() -> Iterator[Server]:
    """Start a server, and take it away at the end. In CI its absence is a failure, elsewhere a skip that is said."""
    bin_ = programs()
    if bin_ is None:
        if os.environ.get("CI"):
            pytest.fail(NOT_INSTALLED, pytrace=False)
        pytest.skip(NOT_INSTALLED)
    # Not under pytest's own folder, which its user alone may enter.
    folder = Path(tempfile.mkdtemp(prefix="scoregate-postgres-"))
    server = Server(bin_, folder)
    try:
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """One server for the whole run; who kills it starts it again."""
    yield from started()
