"""What every ledger promises, whichever store it is made of."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from postgres import postgres  # noqa: F401  a fixture
from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.events import FACTS, Effect, Event, Outgoing
from scoregate.ledger import Appended, Entry, Ledger, postgres_writer, sqlite
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.encrypted import EncryptedLedger
from scoregate.ledger.memory import MemoryLedger, MemoryOutbox
from scoregate.ledger.postgres import PostgresLedger
from scoregate.ledger.segment import SegmentedLedger
from scoregate.ledger.sqlite import SqliteLedger

T = TypeVar("T")
Opener = Callable[[], AbstractAsyncContextManager[Ledger]]


def entry(number: int = 1, **changes: Any) -> Entry:
    whole = Entry(
        decision_id=f"decision-{number}",
        service="fraud",
        natural_key=f"txn-{number}",
        idempotency_key=f"idem-{number}",
        request_digest=f"digest-{number}",
        outcome="review",
        score=0.1 + 0.2,
        source="model",
        rung="full",
        vector=struct.pack("<3d", 1.0, float("nan"), -0.0),
        ages='{"account":["fresh",0.25],"device":["missing",null]}',
        personal={"device_id": "k1:00ff", "account_id": "k1:beef"},
        answer=b'{"outcome": "review"}\n\x00\xff',
        model_digest="m" * 64,
        policy_digest="p" * 64,
        feature_digest="f" * 64,
        arm="stable",
        trace_id="0af7651916cd43dd8448eb211c80319c",
        event_at=1_700_000_000.123456,
        decided_at=1_700_000_000.0,
        shadow='{"score":0.2}' if number % 2 else None,
    )
    return replace(whole, **changes)


def event(number: int = 1, **changes: Any) -> Event:
    """The event that entry `number` is to others."""
    whole = Event(
        service="fraud",
        stream="transactions",
        effect=Effect.COUNT,
        key=f"count:txn-{number}",
        subject=f"txn-{number}",
        at_us=1_700_000_000_123_456,
        known_us=1_700_000_000_123_456,
        row={"account_key": "0f" * 16, "amount_minor": 1999 + number},
    )
    return replace(whole, **changes)


class SteadyLedger(MemoryLedger):
    """A ledger whose store is never away, with a segment in front of it."""

    is_down = False


@pytest.fixture(params=["memory", "sqlite", "postgres", "segmented", "encrypted"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Each opening is one more writer: of one store, or in memory of one outbox (each with entries of its own)."""
    outbox = MemoryOutbox()
    url = request.getfixturevalue("postgres").new_url() if request.param == "postgres" else ""

    @asynccontextmanager
    async def opener() -> AsyncIterator[Ledger]:
        ledger: Ledger
        if request.param == "memory":
            ledger = MemoryLedger("fraud", outbox)
        elif request.param == "segmented":
            ledger = await SegmentedLedger.open(SteadyLedger("fraud", outbox), "fraud", tmp_path, accept=True)
        elif request.param == "postgres":
            ledger = await PostgresLedger.open(url, "fraud", timeout_s=10.0)
        else:
            ledger = await SqliteLedger.open(tmp_path / "ledger" / "fraud.db", "fraud", lock_timeout_s=10.0)
        if request.param == "encrypted":
            ledger = EncryptedLedger(ledger, FieldCipher([b"k" * 32]))
        try:
            yield ledger
        finally:
            await ledger.close()

    return opener


def using(opened: Opener, story: Callable[[Ledger], Awaitable[T]]) -> T:
    async def told() -> T:
        async with opened() as ledger:
            return await story(ledger)

    return asyncio.run(told())


def test_an_entry_comes_back_bit_for_bit(opened: Opener) -> None:
    """What was appended is what is read, also where text is not ASCII, a number not round and a field absent."""
    written = [
        entry(1),
        entry(2, score=None, idempotency_key=None, personal={}, vector=b"", source="fallback", rung="rules"),
        entry(3, natural_key="zahlung-ü-\N{SNOWMAN}", score=5e-324, event_at=1_700_000_000.1, ages="{}"),
        entry(4, score=1.0),
    ]

    async def story(ledger: Ledger) -> list[Entry]:
        for one in written:
            await ledger.append(one)
        read = [await ledger.get(one.decision_id) for one in written]
        return [recorded.entry for recorded in read if recorded]

    assert written == using(opened, story)


def test_an_append_says_what_it_made_durable(opened: Opener) -> None:
    """A first append returns its own decision and answer."""
    assert Appended("decision-1", entry().answer, replayed=False) == using(
        opened, lambda ledger: ledger.append(entry())
    )


def test_an_unknown_decision_is_none(opened: Opener) -> None:
    """Asking for what was never decided is no error."""
    assert using(opened, lambda ledger: ledger.get("decision-1")) is None


@pytest.mark.parametrize(
    "again",
    [
        pytest.param({}, id="both keys"),
        pytest.param({"idempotency_key": None}, id="natural key alone"),
        pytest.param({"natural_key": "txn-other"}, id="idempotency key alone"),
    ],
)
def test_the_same_request_gets_the_first_answer(opened: Opener, again: dict[str, Any]) -> None:
    """One key and the same digest replay the first answer byte for byte, and nothing is decided twice."""

    async def story(ledger: Ledger) -> tuple[Appended, int]:
        await ledger.append(entry())
        return await ledger.append(entry(decision_id="decision-2", answer=b"other", **again)), await ledger.count()

    assert (Appended("decision-1", entry().answer, replayed=True), 1) == using(opened, story)


@pytest.mark.parametrize(
    "again",
    [
        pytest.param({}, id="both keys"),
        pytest.param({"idempotency_key": "idem-other"}, id="natural key alone"),
        pytest.param({"natural_key": "txn-other"}, id="idempotency key alone"),
    ],
)
def test_another_request_under_a_used_key_is_refused(opened: Opener, again: dict[str, Any]) -> None:
    """A key stands for one request: with another digest it is refused, and nothing is written."""

    async def story(ledger: Ledger) -> int:
        await ledger.append(entry())
        with pytest.raises(KeyReused):
            await ledger.append(entry(decision_id="decision-2", request_digest="other", **again))
        return await ledger.count()

    assert 1 == using(opened, story)


def test_a_further_key_of_an_answered_request_is_taken(opened: Opener) -> None:
    """An idempotency key that only ever got a replayed answer is not free for another request."""

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry())
        await ledger.append(entry(idempotency_key="idem-second"))
        with pytest.raises(KeyReused):
            await ledger.append(entry(2, idempotency_key="idem-second"))

    using(opened, story)


def test_keys_of_both_kinds_do_not_meet(opened: Opener) -> None:
    """An idempotency key may spell like another request's natural key."""

    async def story(ledger: Ledger) -> int:
        await ledger.append(entry(1, natural_key="same"))
        await ledger.append(entry(2, idempotency_key="same"))
        return await ledger.count()

    assert 2 == using(opened, story)


def test_fifty_duplicates_at_once_make_one_entry(opened: Opener) -> None:
    """Of concurrent duplicates one decides, and all the others get its answer."""

    async def story(ledger: Ledger) -> tuple[set[tuple[str, bytes]], int, int]:
        rivals = [entry(decision_id=f"rival-{n}", answer=f"answer {n}".encode()) for n in range(50)]
        appended = await asyncio.gather(*(ledger.append(rival) for rival in rivals))
        answers = {(one.decision_id, one.answer) for one in appended}
        return answers, sum(not one.replayed for one in appended), await ledger.count()

    answers, decided, count = using(opened, story)

    assert (1, 1, 1) == (len(answers), decided, count)


def test_a_refused_request_leaves_its_group_unharmed(opened: Opener) -> None:
    """Among concurrent entries a reused key is refused alone."""

    async def story(ledger: Ledger) -> tuple[list[type], int]:
        group = [entry(1), entry(2), entry(3, natural_key="txn-1"), entry(4)]
        ended = await asyncio.gather(*(ledger.append(one) for one in group), return_exceptions=True)
        return [type(one) for one in ended], await ledger.count()

    assert ([Appended, Appended, KeyReused, Appended], 3) == using(opened, story)


def test_many_at_once_end_as_one_by_one(opened: Opener) -> None:
    """Decisions that are appended together: each its own, what is refused in its place, the events of the others."""

    async def story(ledger: Ledger) -> tuple[list[type], list[bool], int, list[Outgoing]]:
        group = [entry(1), entry(1), entry(3, natural_key="txn-1"), *(entry(number) for number in range(4, 400))]
        ended = await ledger.append_all([(one, event(at)) for at, one in enumerate(group)])
        replayed = [one.replayed for one in ended if isinstance(one, Appended)]
        assert [] == await ledger.append_all([])
        return [type(one) for one in ended[:4]], replayed[:3], await ledger.count(), await waiting(ledger)

    kinds, replayed, count, outgoing = using(opened, story)
    keys = [Event.decode(one.payload).key for one in outgoing]

    assert [Appended, Appended, KeyReused, Appended] == kinds
    assert ([False, True, False], 397) == (replayed, count)
    assert ["count:txn-0", *(f"count:txn-{at}" for at in range(3, 399))] == keys


def test_a_decision_id_is_taken_once(opened: Opener) -> None:
    """A second entry under one decision id is not acknowledged, and the others of its group are."""

    async def story(ledger: Ledger) -> tuple[list[type], int]:
        group = [entry(1), entry(2, decision_id="decision-1"), entry(3)]
        ended = await asyncio.gather(*(ledger.append(one) for one in group), return_exceptions=True)
        return [type(one) for one in ended], await ledger.count()

    assert ([Appended, LedgerUnavailable, Appended], 2) == using(opened, story)


def test_the_chain_of_many_entries_verifies(opened: Opener) -> None:
    """Each entry follows the one before it, from 1 on, whatever groups they were written in."""

    async def story(ledger: Ledger) -> None:
        await asyncio.gather(*(ledger.append(entry(n)) for n in range(600)))
        assert [] == await ledger.verify()
        recorded = [found for n in range(600) if (found := await ledger.get(f"decision-{n}"))]
        recorded.sort(key=lambda one: one.seq)
        assert list(range(1, 601)) == [one.seq for one in recorded]
        assert ["00" * 32, *(one.hash for one in recorded[:-1])] == [one.previous_hash for one in recorded]

    using(opened, story)


def test_what_may_be_forgotten_is_committed_to_with_its_own_salt(opened: Opener) -> None:
    """Equal values of two entries have different commitments, so that one cannot be guessed from the other."""

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry(1))
        await ledger.append(entry(2))
        one, two = await ledger.get("decision-1"), await ledger.get("decision-2")
        assert one and two
        committed = {"answer", "vector", "natural_key", "idempotency_key", "personal.account_id", "personal.device_id"}
        assert committed == set(one.commitments) == set(one.salts)
        assert set() == set(one.commitments.values()) & set(two.commitments.values())

    using(opened, story)


@pytest.mark.parametrize(
    "wrong",
    [{"score": float("nan")}, {"decided_at": float("inf")}, {"outcome": "\ud800"}, {"service": "kyc"}],
    ids=["nan", "inf", "unicode", "service"],
)
def test_what_cannot_be_kept_is_refused_before_it_is_written(opened: Opener, wrong: dict[str, Any]) -> None:
    """A number that no store keeps, broken text and another service's entry are the program's errors."""

    async def story(ledger: Ledger) -> int:
        with pytest.raises(ValueError):
            await ledger.append(entry(**wrong))
        return await ledger.count()

    assert 0 == using(opened, story)


def test_a_closed_ledger_acknowledges_nothing(opened: Opener) -> None:
    """After close, also a second one, an append is refused."""

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry(1))
        await ledger.close()
        await ledger.close()
        with pytest.raises(LedgerUnavailable):
            await ledger.append(entry(2))

    using(opened, story)


# The outbox


async def waiting(ledger: Ledger) -> list[Outgoing]:
    """Everything that has not been sent yet, writer by writer."""
    found = []
    for (writer, stream), head in sorted((await ledger.heads()).items()):
        found += await ledger.outgoing(writer, stream, 0, head)
    return found


def said(outgoing: Sequence[Outgoing]) -> list[tuple[str, int, Event]]:
    return [(one.stream, one.number, Event.decode(one.payload)) for one in outgoing]


def test_an_event_is_durable_with_its_entry(opened: Opener) -> None:
    """Once an append returns, its event waits to be sent, and is found by its key."""

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry(1), event(1))
        await ledger.append(entry(2))
        await ledger.append(entry(3), event(3))
        assert [("transactions", 1, event(1)), ("transactions", 2, event(3))] == said(await waiting(ledger))
        keys = ["count:txn-3", "count:txn-2", "count:txn-1"]
        assert {"count:txn-1": event(1), "count:txn-3": event(3)} == await ledger.recorded(keys)
        assert {} == await ledger.recorded([])

    using(opened, story)


@pytest.mark.parametrize(
    ("refused", "error"),
    [
        pytest.param({"natural_key": "txn-1"}, KeyReused, id="key reused"),
        pytest.param({"decision_id": "decision-1"}, LedgerUnavailable, id="not durable"),
        pytest.param({"score": float("nan")}, ValueError, id="cannot be kept"),
    ],
)
def test_a_refused_entry_leaves_no_event(opened: Opener, refused: dict[str, Any], error: type[Exception]) -> None:
    """Whatever an entry is refused for, its event has not happened: it takes no number, and its key is free."""

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry(1))
        group = [ledger.append(entry(2, **refused), event(2)), ledger.append(entry(3), event(3))]
        ended = await asyncio.gather(*group, return_exceptions=True)
        assert [error, Appended] == [type(one) for one in ended]
        assert {} == await ledger.recorded(["count:txn-2"])
        assert [True] == await ledger.record([event(2)])
        assert [("transactions", 1, event(3)), ("transactions", 2, event(2))] == said(await waiting(ledger))

    using(opened, story)


@pytest.mark.parametrize(
    "wrong",
    [{"row": {"amount": float("nan")}}, {"subject": "\ud800"}, {"service": "kyc"}],
    ids=["nan", "unicode", "service"],
)
def test_an_event_that_cannot_be_kept_takes_everything_with_it(opened: Opener, wrong: dict[str, Any]) -> None:
    """With an event that has no bytes neither its entry is written, nor any event that was posted with it."""

    async def story(ledger: Ledger) -> None:
        with pytest.raises(ValueError):
            await ledger.append(entry(1), event(1, **wrong))
        with pytest.raises(ValueError):
            await ledger.record([event(2), event(3, **wrong)])
        assert (0, {}) == (await ledger.count(), await ledger.heads())

    using(opened, story)


def test_a_replayed_entry_brings_no_event(opened: Opener) -> None:
    """An entry that is not written twice has not happened twice, under whatever key its event comes."""

    async def story(ledger: Ledger) -> None:
        for key in ("count:txn-1", "count:txn-1", "count:other"):
            await ledger.append(entry(1), event(1, key=key))
        assert [("transactions", 1, event(1))] == said(await waiting(ledger))

    using(opened, story)


def test_what_was_posted_is_not_counted_again_when_it_is_scored(opened: Opener) -> None:
    """The first event under a key stands; an entry is written all the same."""
    first = event(1, row={"amount_minor": 1})

    async def story(ledger: Ledger) -> None:
        assert [True] == await ledger.record([first])
        assert not (await ledger.append(entry(1), event(1))).replayed
        assert [("transactions", 1, first)] == said(await waiting(ledger))
        assert {"count:txn-1": first} == await ledger.recorded(["count:txn-1"])

    using(opened, story)


def test_what_was_scored_is_known_when_it_is_posted(opened: Opener) -> None:
    """A posted event says whether its key is new, and the known ones of its list change nothing."""
    twice = event(3, row={"amount_minor": 1})

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry(1), event(1))
        posted = [event(2), event(1, row={}), event(3), twice, event(4)]
        assert [True, False, True, False, True] == await ledger.record(posted)
        assert [False] * 5 == await ledger.record(posted)
        assert [] == await ledger.record([])
        expected = [("transactions", number, event(number)) for number in (1, 2, 3, 4)]
        assert expected == said(await waiting(ledger))

    using(opened, story)


def test_numbers_count_per_stream_in_the_order_given(opened: Opener) -> None:
    """Each stream of a writer has its own numbers, from 1, without gaps, in the order of the list."""
    streams = [FACTS, "transactions", "transactions", FACTS, "transactions"]
    posted = [event(n, stream=stream) for n, stream in enumerate(streams)]

    async def story(ledger: Ledger) -> None:
        await ledger.record(posted)
        assert [
            *((FACTS, number, posted[n]) for number, n in ((1, 0), (2, 3))),
            *(("transactions", number, posted[n]) for number, n in ((1, 1), (2, 2), (3, 4))),
        ] == said(await waiting(ledger))

    using(opened, story)


def test_the_relay_hears_of_each_event_in_order_and_before_its_answer(opened: Opener) -> None:
    """Under concurrency the callback gets every event once, in the order of numbers, those that it can look up."""

    async def story(ledger: Ledger) -> None:
        heard: list[Outgoing] = []
        ledger.on_outgoing = heard.extend

        async def appended(number: int) -> None:
            await ledger.append(entry(number), event(number))
            assert f"txn-{number}" in {Event.decode(one.payload).subject for one in heard}

        async def posted(number: int) -> None:
            both = [event(number), event(number, key=f"facts:{number}", stream=FACTS)]
            assert [number % 2 == 1, True] == await ledger.record(both)

        # Every even number is scored too, and first.
        lanes = [lane for n in range(200) for lane in ([appended(n)] if n % 2 == 0 else []) + [posted(n)]]
        await asyncio.gather(*lanes)
        assert list(range(1, 201)) == [one.number for one in heard if one.stream == "transactions"]
        assert list(range(1, 201)) == [one.number for one in heard if one.stream == FACTS]
        assert sorted(await waiting(ledger), key=_place) == sorted(heard, key=_place)

    using(opened, story)


def _place(one: Outgoing) -> tuple[str, str, int]:
    return one.stream, one.writer, one.number


def test_known_events_are_not_announced(opened: Opener) -> None:
    """The callback is not called for what is on its way already."""

    async def story(ledger: Ledger) -> None:
        await ledger.append(entry(1), event(1))
        heard: list[Sequence[Outgoing]] = []
        ledger.on_outgoing = heard.append
        await ledger.append(entry(1), event(1))
        await ledger.record([event(1)])
        await ledger.append(entry(2))
        assert [] == heard

    using(opened, story)


def test_two_writers_number_apart_and_share_keys(opened: Opener) -> None:
    """What two lives record at once has each key once, and each life's numbers have no gap."""

    async def story() -> None:
        async with opened() as one, opened() as two:
            heard: dict[str, list[Outgoing]] = {"one": [], "two": []}
            one.on_outgoing, two.on_outgoing = heard["one"].extend, heard["two"].extend
            posts = [ledger.record([event(n), event(n + 1)]) for n in range(60) for ledger in (one, two)]
            are_new = await asyncio.gather(*posts)
            assert 61 == sum(map(sum, are_new)) == len(heard["one"]) + len(heard["two"])
            for numbers in ([o.number for o in life] for life in heard.values()):
                assert list(range(1, len(numbers) + 1)) == numbers
            kept = await waiting(two)
            assert sorted(heard["one"] + heard["two"], key=_place) == sorted(kept, key=_place)
            assert {f"txn-{n}" for n in range(61)} == {Event.decode(o.payload).subject for o in kept}

    asyncio.run(story())


def test_a_successor_sends_what_a_dead_writer_left(opened: Opener) -> None:
    """What was noted as sent outlives its writer, and what was not is named to the next one until it is."""

    async def story() -> None:
        writers: list[str] = []
        async with opened() as first:
            first.on_outgoing = lambda group: writers.append(group[0].writer)
            await first.record([event(1), event(2), event(3), event(9, stream=FACTS)])
            await first.sent(writers[0], "transactions", 2)
            await first.sent(writers[0], FACTS, 1)
            dead = (writers[0], "transactions")
            assert {dead: 3} == await first.heads()
        async with opened() as second:
            assert {dead: 3} == await second.heads()
            assert [("transactions", 3, event(3))] == said(await second.outgoing(*dead, 2, 10))
            assert {"count:txn-2": event(2)} == await second.recorded(["count:txn-2"])
            second.on_outgoing = lambda group: writers.append(group[0].writer)
            assert [False, True] == await second.record([event(3), event(4)])
            await second.sent(*dead, 3)
            own = (writers[1], "transactions")
            assert {own: 1} == await second.heads()
        async with opened() as third:
            assert dead != own
            assert {own: 1} == await third.heads()
            assert [("transactions", 1, event(4))] == said(await third.outgoing(*own, 0, 10))

    asyncio.run(story())


def test_a_note_of_what_was_sent_never_goes_back(opened: Opener) -> None:
    """A lower note, and one about a writer that never was, change nothing."""

    async def story() -> None:
        writers: list[str] = []
        async with opened() as ledger:
            ledger.on_outgoing = lambda group: writers.append(group[0].writer)
            await ledger.record([event(1), event(2), event(3)])
            for number in (3, 1):
                await ledger.sent(writers[0], "transactions", number)
            await ledger.sent("nobody", "transactions", 5)
            assert {} == await ledger.heads()
        async with opened() as ledger:
            await ledger.sent(writers[0], "transactions", 1)
            assert {} == await ledger.heads()
        async with opened() as ledger:
            assert {} == await ledger.heads()

    asyncio.run(story())


def test_outgoing_comes_in_pages(opened: Opener) -> None:
    """At most `limit` events from after a number on, none past the last, none of a writer that never was."""

    async def story(ledger: Ledger) -> None:
        await ledger.record([event(n) for n in range(1, 11)])
        [(writer, stream)] = await ledger.heads()

        async def page(after: int, limit: int) -> list[int]:
            return [one.number for one in await ledger.outgoing(writer, stream, after, limit)]

        assert [[1, 2, 3], [4, 5, 6], [10], []] == [await page(*at) for at in ((0, 3), (3, 3), (9, 3), (10, 3))]
        assert [] == await ledger.outgoing("nobody", stream, 0, 10)

    using(opened, story)


def test_a_closed_ledger_records_nothing(opened: Opener) -> None:
    """After close a posted event is refused."""

    async def story(ledger: Ledger) -> None:
        await ledger.close()
        with pytest.raises(LedgerUnavailable):
            await ledger.record([event(1)])

    using(opened, story)


async def groups_of(ledger: Ledger, coming: list[int], appends: int) -> list[int]:
    """Append one by one, each a turn of the loop after the other; return how many entries each transaction took."""
    groups: list[int] = []
    ledger.on_outgoing = lambda group: groups.append(len(group))
    ledger.coming = lambda: coming[0]

    async def one(n: int) -> None:
        for _ in range(n):
            await asyncio.sleep(0)
        coming[0] = max(coming[0] - 1, 0)
        await ledger.append(entry(n), event(n))

    await asyncio.gather(*(one(n) for n in range(1, appends + 1)))
    return groups


@pytest.mark.parametrize("opened", ["sqlite", "postgres", "encrypted"], indirect=True)
def test_a_transaction_waits_for_decisions_that_are_coming(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that were being made when the first was ready are written with it, and no longer is waited."""
    for one in (sqlite, postgres_writer):
        monkeypatch.setattr(one, "GATHER_S", 60.0)

    async def story(ledger: Ledger) -> None:
        async with asyncio.timeout(30):
            assert [4] == await groups_of(ledger, [4], 4)

    using(opened, story)


def test_nobody_waits_long_for_decisions_that_do_not_come(opened: Opener) -> None:
    """What was said to come and does not holds up nothing for longer than it takes to gather."""

    async def story(ledger: Ledger) -> None:
        ledger.coming = lambda: 1_000
        async with asyncio.timeout(10):
            for n in range(1, 11):
                await ledger.append(entry(n))
        assert 10 == await ledger.count()

    using(opened, story)


def test_what_is_gathered_is_written_at_the_end(opened: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    """A ledger that is closed while it waits for others writes what it has."""
    for one in (sqlite, postgres_writer):
        monkeypatch.setattr(one, "GATHER_S", 60.0)

    async def story() -> Appended:
        async with asyncio.timeout(30), opened() as ledger:
            ledger.coming = lambda: 1_000
            appending = asyncio.create_task(ledger.append(entry(1)))
            await asyncio.sleep(0.05)
        return await appending

    assert "decision-1" == asyncio.run(story()).decision_id
