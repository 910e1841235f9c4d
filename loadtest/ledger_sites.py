"""Where a ledger can be harmed: replicas that share one, on a volume of their own that can crash."""

from __future__ import annotations

import itertools
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

from ledger_traffic import SERVICE, Traffic
from replicas import Replica
from volume import CannotCrash, Volume

from postgres import Server, programs
from scoregate.settings import Settings

CHECKPOINT_S = 2.0
PATIENCE_S = 60.0
TROUBLE_S = 0.8
KILL, KILL_SERVER, CRASH = "kill a service", "kill PostgreSQL", "crash the machine"
KILL_BOTH = "kill a service and PostgreSQL, which comes back last"
DOWN_S = 4.0
"""Longer than a service takes to look for its ledger."""
KILL_FOR_GOOD = "kill a service for good while PostgreSQL is down"
CRASH_FOR_GOOD = "crash a service's machine for good while PostgreSQL is down"


class Site(ABC):
    """Replicas of one service, and the payments that they are asked about."""

    name: ClassVar[str]
    harms: ClassVar[tuple[str, ...]]
    replica_count: ClassVar[int] = 2

    def __init__(self, stack: Settings, folder: Path, ports: Iterator[int], seed: int) -> None:
        self._stack, self._folder, self._ports = stack, folder, ports
        folder.mkdir(mode=0o755)
        self.cannot_crash, self.kept_unsynced, self.left = "", False, 0
        try:
            self._volume: Volume | None = Volume.made(folder)
        except CannotCrash as problem:
            self._volume, self.cannot_crash = None, str(problem)
        self.disk = folder / "volume"
        self.checkpoints = folder / "checkpoints"
        key = (stack.home / "demo.key").read_text().strip()
        self.traffic = Traffic(key, seed, asks_again=self.replica_count > 1)
        self.replicas: list[Replica] = []
        self._births = itertools.count()

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the ledger is."""

    @property
    def possible(self) -> list[str]:
        """Its harms, without those that the platform does not allow."""
        return [harm for harm in self.harms if not self.cannot_crash or not harm.startswith("crash")]

    def open(self) -> None:
        """Begin to start everything; `wait` says when it is there."""
        self.replicas = [self._born() for _ in range(self.replica_count)]
        self._start_all()

    def wait(self) -> None:
        for one in self.replicas:
            one.wait()
        self.aim()

    def aim(self) -> None:
        """Send requests to the replicas that there are now."""
        self.traffic.urls = [one.url for one in self.replicas]

    def close(self) -> None:
        self._kill_all()
        if self._volume:
            self._volume.close()

    def harm(self, which: str) -> None:
        """Do it, and begin to mend it."""
        if which == CRASH:
            self._crash(self._kill_all)
            self._start_all()
        else:
            self.kill_one()

    def kill_one(self) -> None:
        victim = self.replicas.pop(0)
        victim.kill()
        victim.start()
        self.replicas.append(victim)

    def settle(self) -> None:  # noqa: B027  most have everything at once
        """Wait until the ledger has everything."""

    def _born(self) -> Replica:
        folder = self._folder / f"replica-{next(self._births)}"
        return Replica(self._stack, SERVICE, folder, next(self._ports), **self._settings())

    def _settings(self) -> dict[str, Any]:
        """What its replicas have otherwise than the stack; checkpoints lie on another disk, as they should."""
        key = {"checkpoint_key_file": self._folder / "checkpoint.key", "checkpoint_s": CHECKPOINT_S}
        return {"ledger_url": self.url, "checkpoint_dir": self.checkpoints, **key}

    def _kill_all(self) -> None:
        for one in self.replicas:
            one.kill()

    def _start_all(self) -> None:
        for one in self.replicas:
            one.start()

    def _crash(self, end: Callable[[], None]) -> None:
        """Lose what was not synced, then `end` whoever still has the volume open."""
        assert self._volume is not None
        self._volume.crash()
        end()
        self.kept_unsynced = not self._volume.mount_again()


class Sqlite(Site):
    name = "sqlite"
    harms = (KILL, CRASH)

    @property
    def url(self) -> str:
        return f"sqlite:///{self.disk}/ledger/{SERVICE}.db"


class Postgres(Site):
    """The server's data are on the volume, so a crash is the server's and the replicas' at once."""

    name = "postgres"
    harms = (KILL, KILL_SERVER, CRASH, KILL_BOTH)

    def open(self) -> None:
        bin_ = programs()
        if bin_ is None:
            raise FileNotFoundError("PostgreSQL's programs are not in /usr/lib/postgresql/*/bin")
        data = self._data()
        data.mkdir()
        self.server = Server(bin_, data)
        self.server.start()
        # It was made without a sync.
        os.sync()
        super().open()

    def _data(self) -> Path:
        return self.disk / "postgres"

    @property
    def url(self) -> str:
        return self.server.url

    def harm(self, which: str) -> None:
        if which in {KILL_SERVER, KILL_BOTH}:
            self.server.kill()
            if which == KILL_BOTH:
                self.kill_one()
                time.sleep(DOWN_S)
            self.server.start()
        else:
            super().harm(which)

    def _kill_all(self) -> None:
        super()._kill_all()
        if hasattr(self, "server"):
            self.server.kill()

    def _start_all(self) -> None:
        self.server.start()
        super()._start_all()


class Segment(Postgres):
    """One replica at a time decides, which is what accepting promises; its segment alone is on the volume."""

    name = "segment"
    harms = (KILL_FOR_GOOD, CRASH_FOR_GOOD)
    replica_count = 1

    def _data(self) -> Path:
        return self._folder / "postgres"

    def _settings(self) -> dict[str, Any]:
        return {**super()._settings(), "ledger_segment": "accept", "ledger_segment_dir": self.disk / "segments"}

    def harm(self, which: str) -> None:
        self.server.kill()
        time.sleep(TROUBLE_S)  # The segment takes what is decided meanwhile.
        (dying,) = self.replicas
        if which == CRASH_FOR_GOOD:
            self._crash(dying.kill)
        else:
            dying.kill()
        self.left = len(self._segments())
        if not self.left:
            raise RuntimeError("nothing was accepted into a segment, so the round would show nothing")
        self.replicas = [self._born()]
        self.replicas[0].start()
        self.wait()
        time.sleep(TROUBLE_S)  # The successor accepts too, before anything can be drained.
        self.server.start()

    def settle(self) -> None:
        until_s = time.monotonic() + PATIENCE_S
        while self._segments():
            if time.monotonic() > until_s:
                raise TimeoutError("the segment is never drained")
            time.sleep(0.05)

    def _segments(self) -> list[Path]:
        return [*(self.disk / "segments").glob("*.segment")]


SITES: tuple[type[Site], ...] = (Sqlite, Postgres, Segment)
