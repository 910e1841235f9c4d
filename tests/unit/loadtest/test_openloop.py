"""The open loop ends and says so when a server cannot keep up: who waits too long is slow, not forgotten."""

from __future__ import annotations

import asyncio

from loadtest.openloop import OpenLoop, Run, Sample

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"


class Slow:
    """A server that answers one request after the other, each after a while."""

    def __init__(self, takes_s: float) -> None:
        self._takes_s, self._turn = takes_s, asyncio.Lock()
        self.open = self.most_open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                async with self._turn:
                    await asyncio.sleep(self._takes_s)
                writer.write(ANSWER)
        except (asyncio.IncompleteReadError, ConnectionError):
            self.open -= 1
            writer.close()


def sent(slow: Slow, per_s: float) -> Run:
    async def run() -> Run:
        async with await asyncio.start_server(slow, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            load = OpenLoop(port, "/", "key", lambda: b"", deadline_ms=1, give_up_s=0.3, most=4)
            return await load.send(per_s, 1)

    return asyncio.run(asyncio.wait_for(run(), 10))


def test_a_server_that_cannot_keep_up_is_slow_and_the_run_ends() -> None:
    """Ten times too much: every request is seen, most are given up, and never are more than four with the server."""
    slow = Slow(0.05)
    seen = sent(slow, 200)
    times = seen.times_of_all(0.3)

    assert 200 == len(seen.samples) == len(times)
    assert 120 < seen.statuses()[0] < 200
    assert 0.3 <= times[len(times) // 2]
    assert 5 < seen.answered_per_s() < 21
    assert slow.most_open <= 4


def test_one_that_keeps_up_is_not_held_up() -> None:
    """All are answered, at the rate at which they were asked."""
    seen = sent(Slow(0.001), 50)

    assert {200: 50} == seen.statuses()
    assert 40 < seen.answered_per_s() <= 52


def test_a_quick_error_is_not_a_quick_answer() -> None:
    """It counts as what was never answered."""
    run = Run([Sample(0.0, 0.001, 503), Sample(0.0, 0.2, 200), Sample(0.0, 7.0, 0)])

    assert [0.2, 5.0, 7.0] == run.times_of_all(5.0)
