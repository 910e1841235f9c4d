"""The store's timeout: time in which our own process did not run is not the store's."""

from __future__ import annotations

import asyncio
import time

import pytest

from scoregate.features.patience import Patience


def test_what_never_comes_is_given_up() -> None:
    """TimeoutError, as from any timeout."""

    async def wait() -> None:
        with Patience(0.01):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(wait())


def test_an_answer_that_lay_in_the_socket_while_we_were_busy_counts() -> None:
    """The loop is held up for far longer than the timeout, after the answer was sent: it is read all the same."""

    async def scenario() -> bytes:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.readline())
            # Written by now; what comes is our own fault.
            time.sleep(1.5)  # noqa: ASYNC251 - the very thing that is tried here

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        with Patience(1.0):
            writer.write(b"asked\n")
            found = await reader.readline()
        writer.close()
        server.close()
        return found

    assert b"asked\n" == asyncio.run(scenario())


@pytest.mark.parametrize("turn_s", [0.001, 0.012, 0.03])
def test_what_never_comes_is_given_up_however_busy_we_are(turn_s: float) -> None:
    """Each turn of the loop takes longer than a timer may be late: our own delay is given back, but not for ever."""

    async def wait() -> None:
        loop = asyncio.get_running_loop()

        def busy() -> None:
            time.sleep(turn_s)
            loop.call_later(0, busy)

        busy()
        with Patience(0.05):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(wait(), 30))
