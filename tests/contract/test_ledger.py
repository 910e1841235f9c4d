"""What every ledger promises, whichever store it is made of."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from scoregate.errors import KeyReused, LedgerUnavailable
from scoregate.ledger import Appended, Entry, Ledger
from scoregate.ledger.memory import MemoryLedger
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
    )
    return replace(whole, **changes)


@pytest.fixture(params=["memory", "sqlite"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    @asynccontextmanager
    async def opener() -> AsyncIterator[Ledger]:
        ledger: Ledger
        if request.param == "memory":
            ledger = MemoryLedger("fraud")
        else:
            ledger = await SqliteLedger.open(tmp_path / "ledger" / "fraud.db", "fraud")
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
