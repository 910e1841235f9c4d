"""Waits until every process answers, and says what is wrong when one does not."""

from __future__ import annotations

import http.client
import ssl
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from scoregate.errors import PROBLEM_BASE, ArtefactError
from scoregate.local import StackError
from scoregate.local.state import Running, read_desired, read_status
from scoregate.local.traefik import HOST

PROBE_S = 1.0
LAST_LINES = 15
FALLING_OVER = 3
"""A process that died this often while it was waited for will not become ready."""

REFUSED = f"{PROBLEM_BASE}{ArtefactError.slug}"
"""The problem that a process answers whose artefact is wrong: waiting does not help."""

_NOT_ROUTED = frozenset({404, 502, 503, 504})


def probe(url: str, *, timeout_s: float = PROBE_S, most_bytes: int = 4096) -> tuple[int, str]:
    """GET; status and body, status 0 and the reason when nobody answers."""
    parts = urlsplit(url)
    connection = _connect(parts, timeout_s)
    try:
        connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
        answer = connection.getresponse()
        return answer.status, answer.read(most_bytes).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error) or type(error).__name__
    finally:
        connection.close()


def _connect(parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
    host, port = parts.hostname or HOST, parts.port
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=timeout_s)
    # Our own gateway on this machine, by its address: whether it answers is the question, not who it is.
    unverified = ssl._create_unverified_context()  # noqa: S323 - see above
    return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=unverified)


def routed(gateway_url: str, service: str) -> bool:
    """Whether the gateway reaches a healthy process of the service: without a key, it answers 401 itself."""
    return probe(f"{gateway_url}/v1/{service}/model")[0] not in {0, *_NOT_ROUTED}


def wait_for(what: str, holds: Callable[[], bool], *, log: Path, timeout_s: float) -> None:
    """Raises StackError with the log's last lines when it does not hold in time."""
    deadline_s = time.monotonic() + timeout_s
    while not holds():
        if time.monotonic() > deadline_s:
            raise StackError(f"{what} did not come up within {timeout_s:g} s; the end of {log}:\n{last_lines(log)}")
        time.sleep(0.05)


def wait_until_ready(
    home: Path, gateway_url: str, services: list[str], *, timeout_s: float, note: Callable[[str], None]
) -> None:
    """Wait until what runs is what is wanted, then for each process's own readiness and the gateway's way to services.

    Raises:
        StackError: names the process, why it says it is not ready, and the end of its log.
    """
    waiting: dict[str, str | None] = {f"{name}-stable": name for name in services}
    if read_desired(home).spec("worker"):
        waiting["worker"] = None
    wait_for_processes(home, gateway_url, waiting, timeout_s=timeout_s, note=note)


def wait_for_processes(
    home: Path,
    gateway_url: str,
    waited_for: Mapping[str, str | None],
    *,
    timeout_s: float,
    note: Callable[[str], None] = lambda _: None,
) -> None:
    """Wait for processes by name; where a service is given, for the gateway's way to it too. Raises as above."""
    waiting = dict(waited_for)
    deadline_s = time.monotonic() + timeout_s
    restarts_before = {each.name: each.restarts for each in _running(home)}
    while waiting:
        # Until the supervisor has followed, the process of before answers, and is about to be stopped.
        for each in _running(home) if followed(home) else ():
            if each.name not in waiting:
                continue
            name = waiting[each.name]
            status, body = probe(each.health_url) if each.health_url and each.mark else (0, "")
            if status == 200 and (name is None or routed(gateway_url, name)):
                del waiting[each.name]
            elif status == 503 and REFUSED in body:
                raise StackError(_why(each, "will not become ready"))
            elif each.restarts - restarts_before.get(each.name, 0) >= FALLING_OVER:
                raise StackError(_why(each, "ends whenever it is started"))
        note(f"waiting for {', '.join(waiting)}" if waiting else "all ready")
        if waiting and time.monotonic() > deadline_s:
            late = next(iter(waiting))
            running = next((each for each in _running(home) if each.name == late), None)
            if running is None:
                raise StackError(f"{late} was never started; see {home / 'run' / 'supervisor.log'}.")
            raise StackError(_why(running, f"is not ready after {timeout_s:g} s"))
        time.sleep(0.1)


def followed(home: Path) -> bool:
    """Whether everything that runs is what `desired.json` asks for now."""
    runs = {each.name: each.spec for each in _running(home)}
    return all(runs.get(spec.name) == spec.digest for spec in read_desired(home).processes)


def _running(home: Path) -> tuple[Running, ...]:
    status = read_status(home)
    return status.running if status else ()


def _why(running: Running, what: str) -> str:
    status, body = probe(f"{running.health_url}?verbose")
    said = f" It says: {body.strip()}" if status else " Nobody answers on its port."
    return f"{running.name} {what}.{said} The end of {running.log}:\n{last_lines(Path(running.log))}"


def last_lines(log: Path, count: int = LAST_LINES) -> str:
    try:
        with log.open(errors="replace") as file:
            return "".join(f"  {line.rstrip()}\n" for line in deque(file, maxlen=count)).rstrip()
    except OSError:
        return "  (it is empty)"
