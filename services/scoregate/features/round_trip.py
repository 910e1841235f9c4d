"""Many Redis commands in one write, and their answers in one future, on a connection that all who ask share.

The client connects and authenticates; from then on its socket is read here, by the same parser in C. Its pool looks
before each use whether something was left on a socket, and its reader goes through five coroutines for each answer:
that took longer than the answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

from scoregate.features.patience import Patience, Watch

Command = tuple[str | bytes, ...]
"""Name and arguments."""
Packed = bytes
"""A command as the server reads it."""

BROKE: Final = "the connection broke"

_NOT_YET: Final = object()


def packed(command: Command) -> Packed:
    """Pack a command; one that is sent again and again is packed once."""
    pack: Any = hiredis.pack_command
    found: Packed = pack(command)
    return found


class RoundTrips:
    """Connects when somebody asks, and again when somebody asks after the connection broke.

    `timeout_s` bounds the wait for answers, and for the connection where there is none.
    """

    def __init__(self, redis: Redis, timeout_s: float) -> None:
        # Neither library says the types of what is taken from it.
        self._pool: Any = redis.connection_pool
        self._timeout_s = timeout_s
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None

    def __call__(self, commands: Sequence[Packed]) -> asyncio.Future[list[Any]]:
        """Ask at once; the answer of each command comes in order, of one that the server refused its `ResponseError`.

        Raises:
            RedisError, OSError: there is no connection, or it broke.
            TimeoutError: nothing came in time, our own delays set aside. Slow or dead, nobody can tell: the connection
                is let go of, for a new one does not begin with what this one owes.
        """
        if self._wire is None or self._wire.is_lost:
            return asyncio.ensure_future(self._connect_and_ask(commands))
        return self._wire.ask(commands, self._timeout_s)

    def drop(self) -> None:
        """Let go of the connection; whoever waits for it learns that it broke."""
        if self._wire is not None:
            self._wire.abort(Lost(BROKE))

    async def _connect_and_ask(self, commands: Sequence[Packed]) -> list[Any]:
        with Patience(self._timeout_s):
            wire = await self._connected()
        # Anew, since what connecting took may have been our own delay.
        return await wire.ask(commands, self._timeout_s)

    async def _connected(self) -> _Wire:
        # Whoever comes meanwhile waits for the same one, and whoever gives up does not end it for the others.
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._done)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Wire:
        connection = self._pool.make_connection()
        # The client bounds how long a socket takes, and not what it asks on it.
        async with asyncio.timeout(self._timeout_s):
            await connection.connect()
        self._wire = _Wire(connection)
        return self._wire

    def _done(self, connecting: asyncio.Task[_Wire]) -> None:
        self._connecting = None
        if not connecting.cancelled():
            # Maybe nobody waits for it any more.
            connecting.exception()


class _Waiting(NamedTuple):
    """Who waits for so many answers."""

    answers: int
    future: asyncio.Future[list[Any]]
    watch: Watch


class _Wire(asyncio.Protocol):
    """A connection that was the client's. Answers come in the order of what was asked."""

    def __init__(self, connection: Any) -> None:
        # Who lets go of the client's connection closes it.
        self._connection = connection
        self._transport: asyncio.Transport = connection._writer.transport
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_NOT_YET)
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()
        self._answers: list[Any] = []
        self.is_lost = self._transport.is_closing()
        self._transport.set_protocol(self)

    def ask(self, commands: Sequence[Packed], within_s: float) -> asyncio.Future[list[Any]]:
        future: asyncio.Future[list[Any]] = self._loop.create_future()
        if self.is_lost:
            future.set_exception(Lost(BROKE))
            return future
        self._waiting.append(_Waiting(len(commands), future, Watch(self._loop, within_s, self._overdue)))
        self._transport.write(b"".join(commands))
        return future

    def abort(self, problem: Exception) -> None:
        self.is_lost = True
        self._transport.abort()
        self._fail(problem)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _NOT_YET:
                if not self._waiting:
                    # Whoever asks next must not be given it.
                    return self.abort(Lost(BROKE))
                self._take(answer)
        except hiredis.ProtocolError:
            self.abort(Lost(BROKE))

    def _take(self, answer: Any) -> None:
        self._answers.append(answer)
        if len(self._answers) < self._waiting[0].answers:
            return
        waiting = self._waiting.popleft()
        waiting.watch.cancel()
        answers, self._answers = self._answers, []
        # Whoever gave up is answered too: what comes is in order, and not to be given to the next.
        if not waiting.future.done():
            waiting.future.set_result(answers)

    def _overdue(self) -> None:
        self.abort(TimeoutError("nothing came in time"))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        self._fail(Lost(BROKE))

    def _fail(self, problem: Exception) -> None:
        waiting, self._waiting = self._waiting, deque()
        for each in waiting:
            each.watch.cancel()
            if not each.future.done():
                each.future.set_exception(problem)
