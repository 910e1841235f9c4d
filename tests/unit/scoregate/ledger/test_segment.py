"""What a segment must stand: a store that is away, a process that is killed, a file that was not finished."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

import scoregate
from postgres import Server, started
from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.events import Effect, Event, Outgoing
from scoregate.ledger import Appended, Entry, Recorded
from scoregate.ledger.memory import MemoryLedger
from scoregate.ledger.opening import open_ledger
from scoregate.ledger.segment import CONFLICT, SegmentedLedger
from scoregate.ledger.segment_file import Held, SegmentFile


def entry(number: int, **changes: object) -> Entry:
    whole = Entry(
        decision_id=f"decision-{number}",
        service="fraud",
        natural_key=f"txn-{number}",
        idempotency_key=f"idem-{number}",
        request_digest=f"digest-{number}",
        outcome="approve",
        score=0.1 + 0.2,
        source="model",
        rung="full",
        vector=bytes(range(24)),
        ages="{}",
        personal={"account_id": "k1:beef"},
        answer=b'{"outcome":"approve"}\n\x00\xff',
        model_digest="m",
        policy_digest="p",
        feature_digest="f",
        arm="stable",
        trace_id="tr",
        event_at=1_700_000_000.123456,
        decided_at=1_700_000_000.5,
    )
    return replace(whole, **changes)  # type: ignore[arg-type]


def event(number: int) -> Event:
    key = f"count:txn-{number}"
    return Event("fraud", "transactions", Effect.COUNT, key, f"txn-{number}", 1_700_000_000_250_000, 1, {"a": "ü"})


class RemoteLedger(MemoryLedger):
    """A ledger in memory whose store can be away; closing it leaves it to the next process."""

    is_down = False

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        if self.is_down:
            raise LedgerUnavailable("away")
        return await super().append(entry, event)

    async def get(self, decision_id: str) -> Recorded | None:
        if self.is_down:
            raise LedgerUnavailable("away")
        return await super().get(decision_id)

    async def close(self) -> None:
        pass


@pytest.fixture
def inner() -> RemoteLedger:
    return RemoteLedger("fraud")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "segments"


@asynccontextmanager
async def opened(
    inner: RemoteLedger, folder: Path, *, accept: bool = True, limit_bytes: int = 1 << 20
) -> AsyncIterator[SegmentedLedger]:
    ledger = SegmentedLedger(inner, "fraud", folder, accept=accept, limit_bytes=limit_bytes, retry_s=0.01)
    await ledger.start()
    try:
        yield ledger
    finally:
        await ledger.close()


def segments(folder: Path) -> list[Path]:
    return [*folder.glob("*.segment")]


async def drained(ledger: SegmentedLedger, folder: Path) -> None:
    while ledger.held or segments(folder):  # noqa: ASYNC110  it tells nobody when it is done
        await asyncio.sleep(0.005)


def left(folder: Path, held: Sequence[Held]) -> Path:
    """Leave a segment as a killed process does; return its file."""
    file = SegmentFile.create(folder, "fraud")
    file.append([one.encode() for one in held])
    file.close()
    return file.path


def test_what_the_store_cannot_take_is_held_and_drained(inner: RemoteLedger, folder: Path) -> None:
    """While the store is away decisions are durable in a file; when it is back they and their events are in it."""

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            told: list[Outgoing] = []
            ledger.on_outgoing = told.extend
            await ledger.append(entry(0), event(0))
            inner.is_down = True
            answers = await asyncio.gather(*(ledger.append(entry(n), event(n)) for n in range(1, 40)))
            assert [Appended(f"decision-{n}", entry(n).answer, replayed=False) for n in range(1, 40)] == answers
            [path] = segments(folder)
            assert 39 == len(SegmentFile(path, os.open(path, os.O_RDONLY)).read()) == ledger.held
            assert 0o600 == path.stat().st_mode & 0o777
            inner.is_down = False
            await drained(ledger, folder)
            found = [await ledger.get(f"decision-{n}") for n in range(40)]
            assert [entry(n) for n in range(40)] == [one.entry for one in found if one]
            assert [*range(1, 41)] == [one.number for one in told]
            assert (40, [], 0) == (await ledger.count(), await ledger.verify(), ledger.conflicts)

    asyncio.run(story())


def test_a_held_key_stands_for_its_decision(inner: RemoteLedger, folder: Path) -> None:
    """A held request that comes again gets its answer, another under its key is refused, and a further key is bound:
    before the store is back and after."""

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            inner.is_down = True
            rivals = [ledger.append(entry(1, decision_id=f"rival-{n}", answer=b"%d" % n)) for n in range(20)]
            answers = await asyncio.gather(*rivals)
            assert 1 == len({one.answer for one in answers}) == sum(not one.replayed for one in answers)
            further = entry(1, decision_id="further", idempotency_key="idem-further")
            assert (await ledger.append(further)).replayed
            for away in (True, False):
                inner.is_down = away
                if not away:
                    await drained(ledger, folder)
                for reused in (
                    {"natural_key": "txn-1"},
                    {"idempotency_key": "idem-1"},
                    {"idempotency_key": "idem-further"},
                ):
                    with pytest.raises(KeyReused):
                        await ledger.append(entry(2, **reused))
                assert answers[0].answer == (await ledger.append(further)).answer
            assert (1, 0) == (await ledger.count(), ledger.conflicts)

    asyncio.run(story())


@pytest.mark.parametrize("accept", [True, False])
def test_a_successor_drains_what_a_killed_process_left(inner: RemoteLedger, folder: Path, accept: bool) -> None:
    """Whether or not it would hold decisions itself, who comes next drains, and knows the keys until it has."""
    left(folder, [Held(entry(n), event(n)) for n in range(3)])
    left(folder, [Held(entry(3), event(3)), Held(entry(3, decision_id="x", idempotency_key="k"), None, further=True)])

    async def story() -> None:
        inner.is_down = True
        async with opened(inner, folder, accept=accept) as ledger:
            assert (await ledger.append(entry(1, decision_id="again"))).decision_id == "decision-1"
            with pytest.raises(KeyReused):
                await ledger.append(entry(9, idempotency_key="k"))
            inner.is_down = False
            await drained(ledger, folder)
            assert 4 == await ledger.count()
            assert [event(n) for n in range(4)] == [*(await ledger.recorded([event(n).key for n in range(4)])).values()]
            assert (await ledger.append(entry(3, idempotency_key="k"))).replayed

    asyncio.run(story())


def test_a_segment_is_drained_by_one_process(inner: RemoteLedger, folder: Path) -> None:
    """What a living process holds is nobody else's."""

    async def story() -> None:
        inner.is_down = True
        async with opened(inner, folder) as living:
            await living.append(entry(1))
            async with opened(inner, folder) as other:
                assert (1, 0) == (living.held, other.held)

    asyncio.run(story())


def test_what_was_drained_before_a_kill_is_not_doubled(inner: RemoteLedger, folder: Path) -> None:
    """A decision that reached the store before its segment could be taken away is recognised there."""
    left(folder, [Held(entry(n), event(n)) for n in range(5)])

    async def story() -> None:
        for n in range(3):
            await inner.append(entry(n), event(n))
        async with opened(inner, folder) as ledger:
            await drained(ledger, folder)
            assert (5, 0) == (await ledger.count(), ledger.conflicts)

    asyncio.run(story())


@pytest.mark.parametrize("cut", [1, 3, 9, 200])
def test_a_torn_tail_is_cut(inner: RemoteLedger, folder: Path, cut: int) -> None:
    """What was not finished when its process died was never acknowledged; all before it is kept, and the file too."""
    path = left(folder, [Held(entry(n), event(n)) for n in range(3)])
    os.truncate(path, path.stat().st_size - cut)

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            await drained(ledger, folder)
            assert {"txn-0", "txn-1"} == {one.entry.natural_key for one in inner._entries}
            assert not (await ledger.append(entry(2))).replayed

    asyncio.run(story())

    assert [path.with_suffix(".cut")] == [*folder.iterdir()]


@pytest.mark.parametrize("tail", [b"\0" * 64, b"\xff" * 7, b"\xff" * 64], ids=["zeros", "half a header", "noise"])
def test_what_follows_the_last_frame_is_no_decision(inner: RemoteLedger, folder: Path, tail: bytes) -> None:
    """Blocks that were allotted and never written do not read as decisions."""
    path = left(folder, [Held(entry(0), event(0))])
    with path.open("ab") as file:
        file.write(tail)

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            await drained(ledger, folder)
            assert 1 == await ledger.count()

    asyncio.run(story())


def test_a_segment_of_another_version_is_left_alone(inner: RemoteLedger, folder: Path) -> None:
    """What cannot be read is not thrown away, and is no reason not to start."""
    folder.mkdir()
    path = folder / f"fraud-{'0' * 32}.segment"
    path.write_bytes(b"scoregate-segment-2\n...")

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            await ledger.append(entry(1))

    asyncio.run(story())

    assert path.read_bytes() == b"scoregate-segment-2\n..."


def test_a_key_that_others_decided_meanwhile_is_kept_as_a_conflict(inner: RemoteLedger, folder: Path) -> None:
    """Both decisions were acknowledged, so both are in the ledger; the key stands for the one that was there first."""
    theirs = [entry(n, decision_id=f"theirs-{n}", answer=b"theirs") for n in (1, 2)]
    theirs[1] = replace(theirs[1], request_digest="another body")

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            inner.is_down = True
            await asyncio.gather(*(ledger.append(entry(n), event(n)) for n in (1, 2, 3)))
            inner.is_down = False
            for one in theirs:
                await inner.append(one)
            await drained(ledger, folder)
            assert (5, 2, []) == (await ledger.count(), ledger.conflicts, await ledger.verify())
            ours = await ledger.get("decision-1")
            assert ours
            says = f"{CONFLICT}decision-1"
            marked = {"natural_key": f"txn-1{says}", "request_digest": f"{entry(1).request_digest}{says}"}
            assert entry(1, **marked, idempotency_key=None) == ours.entry
            assert b"theirs" == (await ledger.append(entry(1))).answer
        # Were it drained again, it would be found to be there.
        left(folder, [Held(entry(n), event(n)) for n in (1, 2, 3)])
        async with opened(inner, folder) as ledger:
            await drained(ledger, folder)
            assert 5 == await ledger.count()

    asyncio.run(story())


def test_the_default_is_to_refuse(inner: RemoteLedger, folder: Path) -> None:
    """Who did not promise to be alone acknowledges nothing that the store does not have."""

    async def story() -> None:
        ledger = SegmentedLedger(inner, "fraud", folder)
        await ledger.start()
        inner.is_down = True
        with pytest.raises(LedgerUnavailable):
            await ledger.append(entry(1))
        assert [] == segments(folder)
        await ledger.close()

    asyncio.run(story())


def test_what_is_refused_while_the_store_is_there_is_not_held(inner: RemoteLedger, folder: Path) -> None:
    """Only a store that is away is stood in for: what it refuses for another reason is refused."""

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            await ledger.append(entry(1))
            with pytest.raises(LedgerUnavailable):
                await ledger.append(entry(2, decision_id="decision-1"))
            assert [] == segments(folder)

    asyncio.run(story())


def test_a_full_segment_refuses(inner: RemoteLedger, folder: Path) -> None:
    """Above its bound nothing is acknowledged, what was is kept, and there is room again once it is drained."""
    room = 3 * len(Held(entry(1), event(1)).encode()) + 10

    async def story() -> None:
        async with opened(inner, folder, limit_bytes=room) as ledger:
            inner.is_down = True
            ended = await asyncio.gather(*(ledger.append(entry(n), event(n)) for n in range(9)), return_exceptions=True)
            assert [Appended] * 3 + [LedgerUnavailable] * 6 == [type(one) for one in ended]
            inner.is_down = False
            await drained(ledger, folder)
            inner.is_down = True
            assert not (await ledger.append(entry(5), event(5))).replayed
            inner.is_down = False
            await drained(ledger, folder)
            assert 4 == await ledger.count()

    asyncio.run(story())


def test_a_disk_that_fails_acknowledges_nothing(
    inner: RemoteLedger, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be synced is refused and its keys are free; the next decision gets a file of its own."""

    def failing(descriptor: int) -> None:
        raise OSError(errno.EIO, "no disk")

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            inner.is_down = True
            await ledger.append(entry(1))
            with monkeypatch.context() as patched:
                patched.setattr(os, "fdatasync", failing)
                with pytest.raises(LedgerUnavailable):
                    await ledger.append(entry(2))
            assert not (await ledger.append(entry(2, request_digest="other"))).replayed
            assert 2 == len(segments(folder)) == ledger.held
            inner.is_down = False
            await drained(ledger, folder)
            assert (2, 0) == (await ledger.count(), ledger.conflicts)

    asyncio.run(story())


def test_every_acknowledgement_was_synced(inner: RemoteLedger, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decisions that wait together share a sync, and none is answered before it."""
    sizes: list[int] = []
    sync = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", lambda fd: (sync(fd), sizes.append(os.fstat(fd).st_size)))

    async def story() -> None:
        async with opened(inner, folder) as ledger:
            inner.is_down = True

            async def acknowledged(number: int) -> None:
                await ledger.append(entry(number))
                [path] = segments(folder)
                synced = path.read_bytes()[: sizes[-1]]
                assert f'"decision-{number}"'.encode() in synced

            await asyncio.gather(*(acknowledged(n) for n in range(50)))

    asyncio.run(story())

    assert 1 <= len(sizes) < 10


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from test_segment import entry, event
from scoregate.ledger.opening import open_ledger

async def main(url, folder):
    ledger = await open_ledger(url, "fraud", segments=Path(folder), accept=True)
    await asyncio.gather(*(ledger.append(entry(n), event(n)) for n in range(100)))
    print(ledger.held, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def test_a_process_killed_while_postgres_is_down_loses_nothing(folder: Path) -> None:
    """It starts and decides without the server, is killed for good, and its successor drains what it acknowledged."""

    async def story(server: Server) -> None:
        ledger = await open_ledger(server.url, "fraud", segments=folder, accept=True)
        await asyncio.to_thread(server.start)
        assert isinstance(ledger, SegmentedLedger)
        assert (await ledger.append(entry(7, decision_id="again"))).decision_id == "decision-7"
        await drained(ledger, folder)
        assert (100, [], 0) == (await ledger.count(), await ledger.verify(), ledger.conflicts)
        assert 100 == len(await ledger.recorded([event(n).key for n in range(100)]))
        await ledger.close()

    server = next(servers := started())
    try:
        server.stop()
        services, here = Path(scoregate.__file__).parents[1], Path(__file__).parent
        paths = os.pathsep.join(map(str, (services, here.parents[2], here)))
        command = [sys.executable, "-c", KILLED, server.url, str(folder), str(here)]
        process = subprocess.run(
            command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths}
        )
        assert "100" == process.stdout.strip(), process.stderr
        asyncio.run(story(server))
    finally:
        with suppress(StopIteration):
            next(servers)
