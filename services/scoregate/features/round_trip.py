"""Many Redis commands in one write, packed in C: the client's asynchronous pipeline packs them in Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.exceptions import ResponseError

Command = tuple[str | bytes, ...]


async def round_trip(redis: Redis, commands: Sequence[Command]) -> list[Any]:
    """Return the answer of each command, in order; of one that the server refused, its `ResponseError`.

    Raises:
        RedisError, OSError: the connection broke.
    """
    # Neither library says the types of these two.
    connection: Any = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
    pack: Any = hiredis.pack_command
    try:
        await connection.send_packed_command(b"".join(map(pack, commands)))
        return [await _answer(connection) for _ in commands]
    except BaseException:
        # Whoever has it next would read what was still to come.
        await connection.disconnect(nowait=True)
        raise
    finally:
        await redis.connection_pool.release(connection)


async def _answer(connection: Any) -> Any:
    try:
        return await connection.read_response()
    except ResponseError as refused:
        return refused
