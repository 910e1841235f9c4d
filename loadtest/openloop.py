"""An open-loop generator: requests leave when they are due, whatever became of those before.

Times are counted from when a request was due, so that a server which holds up its callers is charged for it. The
generator measures itself too: `late_s` is how late requests left, `cpu_share` how much of one core it took; where they
are large, a figure says more about the generator than about what was measured.
"""

from __future__ import annotations

import asyncio
import gc
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

Body = Callable[[], bytes]
GIVE_UP_S = 15.0
"""No answer after this long, or twice the deadline, counts as status 0, as a broken connection does."""
UNBOUNDED: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. `due_s` is on the monotonic clock.

    `said` is `<source>/<confidence>/<outcome>` of a decision, the last word of a problem's type, or empty.
    The confidence is `unusual` where it is low for nothing but values beyond those of training.
    """

    due_s: float
    seconds: float
    status: int
    said: str = ""


@dataclass(slots=True)
class Run:
    """What a run saw, in the order of answers."""

    samples: list[Sample] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)
    cpu_share: float = 0.0

    def statuses(self) -> dict[int, int]:
        return dict(sorted(Counter(sample.status for sample in self.samples).items()))

    def outcomes(self) -> dict[str, int]:
        return dict(sorted(Counter(sample.said for sample in self.samples if sample.said).items()))

    def times(self, status: int | None = None) -> list[float]:
        return sorted(s.seconds for s in self.samples if status is None or s.status == status)

    def times_of_all(self, failed_s: float) -> list[float]:
        """Times of all that was asked, sorted; what is not a 200 is not fast, and counts as `failed_s` at least."""
        return sorted(s.seconds if s.status == 200 else max(s.seconds, failed_s) for s in self.samples)

    def answered_per_s(self) -> float:
        """200s a second, from when the first request was due until the last answer."""
        began_s, ended_s = min(s.due_s for s in self.samples), max(s.due_s + s.seconds for s in self.samples)
        return len(self.times(200)) / (ended_s - began_s)


def quantile(ordered: list[float], share: float) -> float:
    """Return a quantile of what is sorted; nan of nothing."""
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else float("nan")


def _said(status: int, body: bytes) -> str:
    try:
        answer = json.loads(body) if body else {}
    except ValueError:
        return "not JSON"
    if status == 200:
        return f"{answer['source']}/{_confidence(answer)}/{answer['outcome']}" if "outcome" in answer else ""
    return str(answer.get("type", "nothing")).rpartition("/")[2]


def _confidence(answer: dict[str, Any]) -> str:
    features = answer["features"]
    is_whole = answer["source"] == "model" and not features["stale"] and not features["missing"]
    return "unusual" if answer["confidence"] == "low" and is_whole else str(answer["confidence"])


class _Connection(asyncio.Protocol):
    """One keep-alive connection with one request on it at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._got = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def connection_lost(self, exc: Exception | None) -> None:
        self.transport = None
        if self._answer and not self._answer.done():
            self._answer.set_result((0, b""))

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        self._answer = asyncio.get_running_loop().create_future()
        self._got = b""
        assert self.transport is not None
        self.transport.write(request)
        return self._answer

    def abort(self) -> None:
        """Let go of it: the answer that is still to come is nobody's."""
        if self.transport is not None:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0 or self._answer is None or self._answer.done():
            return
        head = self._got[:end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._got) < end + 4 + length:
            return
        body = self._got[end + 4 :]
        answer, self._answer = self._answer, None
        if b"connection: close" in head and self.transport:
            self.transport.close()
        answer.set_result((int(head[9:12]), body))


@contextmanager
def _no_collector() -> Iterator[None]:
    """Keep the generator from walking through all that it has sent while it should send."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


class OpenLoop:
    """Sends `per_s` requests a second to one path of 127.0.0.1, over as many connections as it takes.

    With `most` of them a request that finds none free waits for one, which counts, until it is given up: so what is
    asked of a server that cannot keep up ends, and says how long its callers wait.
    """

    def __init__(
        self,
        port: int,
        path: str,
        key: str,
        body: Body,
        *,
        method: str = "POST",
        deadline_ms: int = 1_000,
        give_up_s: float = GIVE_UP_S,
        most: int = UNBOUNDED,
    ) -> None:
        self._port, self._body = port, body
        self._give_up_s = max(give_up_s, 2 * deadline_ms / 1000)
        self._free = asyncio.Semaphore(most)
        self._head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
            f"Content-Type: application/json\r\nX-Request-Deadline-Ms: {deadline_ms}\r\n"
        ).encode()
        self._idle: list[_Connection] = []
        self._out: set[asyncio.Task[None]] = set()
        self.run = Run()

    async def send(self, per_s: float, seconds: float) -> Run:
        """Send evenly for so long, then wait for what is still out."""
        began_s, cpu_s = time.monotonic(), time.process_time()
        with _no_collector():
            for due_s in self._schedule(began_s, per_s, seconds):
                if (wait_s := due_s - time.monotonic()) > 0:
                    await asyncio.sleep(wait_s)
                self.run.late_s.append(time.monotonic() - due_s)
                task = asyncio.create_task(self.one(due_s))
                self._out.add(task)
                task.add_done_callback(self._out.discard)
        self.run.cpu_share = (time.process_time() - cpu_s) / (time.monotonic() - began_s)
        await self.settled()
        return self.run

    async def settled(self) -> None:
        """Wait for what is still out; `send` may have been cancelled."""
        await asyncio.gather(*self._out)

    @staticmethod
    def _schedule(began_s: float, per_s: float, seconds: float) -> Iterator[float]:
        return (began_s + i / per_s for i in range(int(per_s * seconds)))

    async def one(self, due_s: float) -> None:
        """Ask once; what comes of it is in `run`."""
        try:
            status, body = await self._in_turn()
        except (OSError, TimeoutError):
            status, body = 0, b""
        self.run.samples.append(Sample(due_s, time.monotonic() - due_s, status, _said(status, body)))

    async def _in_turn(self) -> tuple[int, bytes]:
        # Apart, or a server with too much to do would get nothing but requests whose callers are about to leave.
        async with asyncio.timeout(self._give_up_s):
            await self._free.acquire()
        try:
            async with asyncio.timeout(self._give_up_s):
                return await self._exchange()
        finally:
            self._free.release()

    async def _exchange(self) -> tuple[int, bytes]:
        while self._idle and self._idle[-1].transport is None:
            self._idle.pop()
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, "127.0.0.1", self._port)
        body = self._body()
        try:
            answer = await connection.ask(self._head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        except asyncio.CancelledError:
            connection.abort()
            raise
        self._idle.append(connection)
        return answer
