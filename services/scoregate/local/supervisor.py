"""The daemon that owns every process of the local stack: `python -m scoregate.local.supervisor --home H`.

It makes what runs equal to `run/desired.json`, starts again what dies, and writes `run/status.json`.
On SIGTERM it stops the gateway, then the services, then the store. When it is killed, its children get SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import psutil

from scoregate.local.problems import ProblemPages
from scoregate.local.processes import Child, adopt_orphans, alive, end, mark_of
from scoregate.local.state import (
    Desired,
    Mark,
    ProcessSpec,
    Running,
    Status,
    desired_file,
    read_desired,
    read_status,
    run_dir,
    status_file,
    write_status,
)

TICK_S = 0.05
CENSUS_S = 5.0

log = logging.getLogger("scoregate.local")


class Supervisor:
    def __init__(self, home: Path) -> None:
        self._home = home
        self._children: dict[str, Child] = {}
        self._pages: ProblemPages | None = None
        self._seen: tuple[int, int] | None = None
        self._census_due_s = 0.0
        self.stopping = False

    async def run(self) -> None:
        self._report()
        while not self.stopping:
            if not run_dir(self._home).is_dir():
                # Somebody deleted the state: children that write into deleted files would lose what they acknowledge.
                log.warning("%s is gone: everything is stopped", run_dir(self._home))
                break
            changed = await self._follow_desired()
            changed |= self._revive()
            changed |= self._census()
            if changed:
                self._report()
            await asyncio.sleep(TICK_S)
        await self._stop(self._children.values())
        if self._pages is not None:
            await self._pages.close()
        status_file(self._home).unlink(missing_ok=True)

    async def _follow_desired(self) -> bool:
        try:
            found = desired_file(self._home).stat()
        except FileNotFoundError:
            return False
        if (stamp := (found.st_mtime_ns, found.st_ino)) == self._seen:
            return False
        self._seen = stamp
        desired = read_desired(self._home)
        await self._serve_pages(desired)
        wanted = {spec.name: spec for spec in desired.processes}
        await self._stop([child for name, child in self._children.items() if wanted.get(name) != child.spec])
        self._children = {name: child for name, child in self._children.items() if wanted.get(name) == child.spec}
        for spec in sorted(desired.processes, key=lambda spec: spec.stage):
            if spec.name not in self._children:
                self._start(spec)
        return True

    async def _serve_pages(self, desired: Desired) -> None:
        if self._pages is not None and self._pages.serves(desired.problems_port, desired.max_body_bytes):
            return
        if self._pages is not None:
            await self._pages.close()
            self._pages = None
        if desired.problems_port:
            traces = run_dir(self._home) / "traces"
            pages = ProblemPages(port=desired.problems_port, max_body_bytes=desired.max_body_bytes, traces=traces)
            try:
                await pages.start()
                self._pages = pages
            except OSError as error:
                log.warning("problem pages: port %d: %s", desired.problems_port, error)
                self._seen = None
                await asyncio.sleep(1)

    def _start(self, spec: ProcessSpec) -> None:
        child = Child(spec)
        child.start()
        self._children[spec.name] = child
        log.info("%s: started, pid %s", spec.name, child.mark and child.mark.pid)

    def _revive(self) -> bool:
        changed = False
        for name, child in self._children.items():
            if child.ended():
                log.warning("%s: ended by itself, see %s", name, child.spec.log)
                self._end_adopted()
                changed = True
            if child.due():
                child.start()
                child.restarts += 1
                log.info("%s: started again, pid %s", name, child.mark and child.mark.pid)
                changed = True
        return changed

    def _census(self) -> bool:
        """Note the children's children, so that `down` can end them should everything above them be killed at once."""
        if (now_s := time.monotonic()) < self._census_due_s:
            return False
        self._census_due_s = now_s + CENSUS_S
        self._end_adopted()
        changed = [child.note_offspring() for child in self._children.values()]
        return any(changed)

    def _end_adopted(self) -> None:
        """End orphans: whoever came to us without being started by us has lost the parent that managed it."""
        ours = {child.process.pid for child in self._children.values() if child.process}
        for each in psutil.Process().children():
            if each.pid not in ours:
                with contextlib.suppress(psutil.Error):
                    each.kill()
                    each.wait(1)

    async def _stop(self, children: Iterable[Child]) -> None:
        waiting = list(children)
        for stage in sorted({child.spec.stage for child in waiting}, reverse=True):
            group = [child for child in waiting if child.spec.stage == stage]
            for child in group:
                log.info("%s: asked to stop", child.spec.name)
                child.ask_to_stop()
            started_s = time.monotonic()
            for child in group:
                while child.process and child.process.poll() is None:
                    if time.monotonic() - started_s > child.spec.stop_s:
                        log.warning("%s: did not stop within %g s, killed", child.spec.name, child.spec.stop_s)
                        break
                    await asyncio.sleep(TICK_S / 2)
                child.make_stop()
            self._end_adopted()

    def _report(self) -> None:
        running = [
            Running(
                name=name,
                port=child.spec.port,
                stage=child.spec.stage,
                log=child.spec.log,
                health_url=child.spec.health_url,
                mark=child.mark,
                restarts=child.restarts,
                offspring=tuple(sorted(child.offspring, key=lambda mark: mark.pid)),
                spec=child.spec.digest,
            )
            for name, child in self._children.items()
        ]
        me = mark_of(os.getpid())
        assert me is not None
        write_status(self._home, Status(me, tuple(running), self._pages.port if self._pages else 0))


def lock_file(home: Path) -> Path:
    return run_dir(home) / "supervisor.lock"


def take_lock(home: Path) -> IO[str] | None:
    """Held for as long as the supervisor lives, by the kernel, so that a kill -9 releases it."""
    run_dir(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = lock_file(home).open("a")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        return None
    return handle


def supervisor_of(home: Path) -> Mark | None:
    """The living supervisor of this state folder."""
    status = read_status(home)
    return status.supervisor if status and alive(status.supervisor) else None


def start_supervisor(home: Path, *, wait_s: float = 10.0) -> None:
    """Start the daemon in a session of its own; return when it reports.

    Raises:
        TimeoutError: it did not come up; `run/supervisor.log` says why.
    """
    run_dir(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    with (run_dir(home) / "supervisor.log").open("ab") as output:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "scoregate.local.supervisor", "--home", str(home)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline_s = time.monotonic() + wait_s
    while (mark := supervisor_of(home)) is None or mark.pid != daemon.pid:
        if daemon.poll() is not None or time.monotonic() > deadline_s:
            raise TimeoutError(f"the supervisor did not start; see {run_dir(home) / 'supervisor.log'}")
        time.sleep(0.02)


def stop_supervisor(home: Path, *, wait_s: float = 60.0) -> list[str]:
    """Stop the daemon and all it runs, then what an earlier one may have left; return the names of what ran."""
    status = read_status(home)
    names = [each.name for each in status.running] if status else []
    if status and (process := alive(status.supervisor)):
        process.terminate()
        psutil.wait_procs([process], timeout=wait_s)
        if alive(status.supervisor):
            process.kill()
            psutil.wait_procs([process], timeout=2)
    else:
        names = []
    return names + [name for name in end_leftovers(home) if name not in names]


def end_leftovers(home: Path, *, grace_s: float = 3.0) -> list[str]:
    """End what a killed supervisor left, by pid and time of birth and nothing else; return the names."""
    status = read_status(home)
    if status is None:
        return []
    names: list[str] = []
    for each in sorted(status.running, key=lambda running: -running.stage):
        marks: list[Mark] = [*([each.mark] if each.mark else []), *each.offspring]
        if end(marks, grace_s=grace_s):
            names.append(each.name)
    status_file(home).unlink(missing_ok=True)
    return names


async def _main(home: Path) -> int:
    lock = take_lock(home)
    if lock is None:
        log.error("another supervisor owns %s", home)
        return 1
    adopt_orphans()
    end_leftovers(home)
    supervisor = Supervisor(home)
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, setattr, supervisor, "stopping", True)
    log.info("supervisor of %s started, pid %d", home, os.getpid())
    await supervisor.run()
    log.info("supervisor stopped")
    lock.close()
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="scoregate.local.supervisor")
    parser.add_argument("--home", type=Path, required=True)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    sys.exit(asyncio.run(_main(parser.parse_args().home)))
