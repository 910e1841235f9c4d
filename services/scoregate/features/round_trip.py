"""Many Redis commands in one write, and their answers in one future, on a connection that all of a process share.

The client connects and authenticates; from then on its socket is read here, by the same parser in C. Its pool looks
before each use whether something was left on a socket, and its reader goes through five coroutines for each answer:
that took longer than the answers.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError

Command = tuple[str | bytes, ...]

_NOT_YET: Final = object()


class RoundTrips:
    """Connects when somebody asks, and again when somebody asks after the connection broke."""

    def __init__(self, redis: Redis, connect_timeout_s: float) -> None:
        # Neither library says the types of what is taken from it.
        self._pool: Any = redis.connection_pool
        self._connect_timeout_s = connect_timeout_s
        self._wire: _Wire | None = None
        self._connecting: asyncio.Task[_Wire] | None = None

    async def __call__(self, commands: Sequence[Command]) -> list[Any]:
        """Return the answer of each command, in order; of one that the server refused, its `ResponseError`.

        Raises:
            RedisError, OSError, TimeoutError: there is no connection, or it broke.
        """
        wire = self._wire
        if wire is None or wire.is_lost:
            wire = await self._connected()
        return await wire.ask(commands)

    def drop(self) -> None:
        """Let go of a connection on which nothing comes; whoever waits for it learns that it broke."""
        if self._wire is not None:
            self._wire.abort()

    async def _connected(self) -> _Wire:
        # Whoever comes meanwhile waits for the same one, and whoever gives up does not end it for the others.
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._done)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> _Wire:
        connection = self._pool.make_connection()
        # The client bounds how long a socket takes, and not what it asks on it.
        async with asyncio.timeout(self._connect_timeout_s):
            await connection.connect()
        self._wire = _Wire(connection)
        return self._wire

    def _done(self, connecting: asyncio.Task[_Wire]) -> None:
        self._connecting = None
        if not connecting.cancelled():
            # Maybe nobody waits for it any more.
            connecting.exception()


class _Wire(asyncio.Protocol):
    """A connection that was the client's. Answers come in the order of what was asked."""

    def __init__(self, connection: Any) -> None:
        # Who lets go of the client's connection closes it.
        self._connection = connection
        self._transport: asyncio.Transport = connection._writer.transport
        self._reader = hiredis.Reader(replyError=ResponseError, notEnoughData=_NOT_YET)
        self._waiting: deque[tuple[int, asyncio.Future[list[Any]]]] = deque()
        self._answers: list[Any] = []
        self.is_lost = self._transport.is_closing()
        self._transport.set_protocol(self)

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        if self.is_lost:
            raise Lost("the connection broke")
        pack: Any = hiredis.pack_command
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((len(commands), future))
        self._transport.write(b"".join(map(pack, commands)))
        return await future

    def abort(self) -> None:
        self.is_lost = True
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not _NOT_YET:
                if not self._waiting:
                    # Whoever asks next must not be given it.
                    return self.abort()
                self._take(answer)
        except hiredis.ProtocolError:
            self.abort()

    def _take(self, answer: Any) -> None:
        self._answers.append(answer)
        count, future = self._waiting[0]
        if len(self._answers) < count:
            return
        self._waiting.popleft()
        answers, self._answers = self._answers, []
        # Whoever gave up is answered too: what comes is in order, and not to be given to the next.
        if not future.done():
            future.set_result(answers)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True
        waiting, self._waiting = self._waiting, deque()
        for _, future in waiting:
            if not future.done():
                future.set_exception(Lost("the connection broke"))
