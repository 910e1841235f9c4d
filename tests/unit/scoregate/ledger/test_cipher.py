"""Vectors and answers at rest: nobody reads them without a key, and nobody puts one in another's place."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from scoregate.errors import ArtefactError, LedgerUnavailable
from scoregate.events import Event
from scoregate.ledger import Appended, Recorded
from scoregate.ledger.audit import audit
from scoregate.ledger.cipher import PLAIN, FieldCipher
from scoregate.ledger.forgetting import Person, forget_person
from scoregate.ledger.opening import open_ledger
from scoregate.ledger.segment_file import adopted
from unit.scoregate.ledger.kept import Kept, entry, event

FIRST, SECOND = b"1" * 32, b"2" * 32
SECRET = b'{"outcome":"approve","reasons":[{"code":"needle","text":"why"}]}'


def append(url: str, cipher: FieldCipher, number: int = 1) -> Appended:
    async def write() -> Appended:
        ledger = await open_ledger(url, "fraud", cipher=cipher)
        try:
            return await ledger.append(entry(number, answer=SECRET, decision_id=f"decision-{number}"))
        finally:
            await ledger.close()

    return asyncio.run(write())


def stored(kept: Kept, number: int = 1) -> Recorded:
    with kept.archive() as archive:
        found = archive.get("fraud", f"decision-{number}")
    assert found
    return found


def test_a_store_holds_no_answer_and_no_vector(kept: Kept) -> None:
    """What is stored says neither, the key brings both back, and the chain holds without it."""
    append(kept.url, FieldCipher([FIRST]))

    at_rest = stored(kept)

    assert (False, False) == (b"needle" in at_rest.entry.answer, bytes(16) in at_rest.entry.vector)
    assert entry(1, answer=SECRET) == FieldCipher([FIRST]).decrypted(at_rest).entry
    assert audit(kept.url, "fraud", processes=1).holds


def test_events_are_at_rest_as_unreadable_as_entries(kept: Kept) -> None:
    """The store has no column of an event; whoever listens, asks for what was left behind, or looks one up, has all."""
    needle = {"account_key": "needle", "amount_minor": 1999}
    own, posted = event(1, row=needle), event(2, row=needle)
    heard: list[Event] = []

    async def write(cipher: FieldCipher) -> list[Event]:
        ledger = await open_ledger(kept.url, "fraud", cipher=cipher)
        ledger.on_outgoing = lambda outgoing: heard.extend(Event.decode(one.payload) for one in outgoing)
        try:
            await ledger.append(entry(1), own)
            await ledger.record([posted])
            ((writer, stream), head) = next(iter((await ledger.heads()).items()))
            left = [Event.decode(one.payload) for one in await ledger.outgoing(writer, stream, 0, head)]
            found = await ledger.recorded([posted.key])
            return [*left, found[posted.key]]
        finally:
            await ledger.close()

    assert [own, posted, posted] == asyncio.run(write(FieldCipher([FIRST])))
    assert [own, posted] == heard

    async def at_rest() -> dict[str, Event]:
        ledger = await open_ledger(kept.url, "fraud")
        try:
            return await ledger.recorded([own.key, posted.key])
        finally:
            await ledger.close()

    stored_events = asyncio.run(at_rest())
    assert {own.key, posted.key} == stored_events.keys()
    assert "needle" not in str(stored_events)
    with pytest.raises(LedgerUnavailable, match="is not what was encrypted"):
        FieldCipher([FIRST]).decrypted_event(replace(stored_events[own.key], key=posted.key))


def test_a_segment_holds_no_answer(tmp_path: Path) -> None:
    """Encrypted is what goes into the segment too, when the store is down."""
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"

    async def held() -> None:
        ledger = await open_ledger(nowhere, "fraud", segments=tmp_path, accept=True, cipher=FieldCipher([FIRST]))
        appended = await ledger.append(entry(1, answer=SECRET))
        assert SECRET == appended.answer == (await ledger.append(entry(1, decision_id="again"))).answer
        await ledger.close()

    asyncio.run(held())

    (left,) = adopted(tmp_path, "fraud")
    (at_rest,) = [one.entry for one in left.read()]
    left.close()
    assert ("txn-1", False) == (at_rest.natural_key, b"needle" in at_rest.answer)


def test_a_later_key_still_reads_what_an_earlier_one_wrote(kept: Kept) -> None:
    """The last key encrypts, all decrypt, and what was written before there was one is read as it is."""
    both = FieldCipher([FIRST, SECOND])
    for number, cipher in enumerate((PLAIN, FieldCipher([FIRST]), both), 1):
        append(kept.url, cipher, number)

    assert [SECRET] * 3 == [both.decrypted(stored(kept, number)).entry.answer for number in (1, 2, 3)]
    assert [SECRET] * 3 == [append(kept.url, both, number).answer for number in (1, 2, 3)]
    with pytest.raises(LedgerUnavailable, match="which is not there"):
        FieldCipher([FIRST]).decrypted(stored(kept, 3))


def test_without_its_key_an_answer_is_not_given_again(kept: Kept) -> None:
    """A retry is refused, and never gets what is stored."""
    append(kept.url, FieldCipher([FIRST]))

    with pytest.raises(LedgerUnavailable):
        append(kept.url, PLAIN)


def test_a_value_does_not_pass_for_another_decision_s(kept: Kept) -> None:
    """Which decision and field it is of is encrypted with it."""
    cipher = FieldCipher([FIRST])
    append(kept.url, cipher)
    at_rest = stored(kept)

    for moved in ({"decision_id": "decision-2"}, {"vector": at_rest.entry.answer}):
        with pytest.raises(LedgerUnavailable, match="not what was encrypted"):
            cipher.decrypted(replace(at_rest, entry=replace(at_rest.entry, **moved)))  # type: ignore[arg-type]


def test_what_is_encrypted_is_forgotten_like_all_else(kept: Kept) -> None:
    """Without a key too: whoever forgets need not be able to read."""
    append(kept.url, FieldCipher([FIRST]))

    with kept.archive() as archive:
        assert 1 == forget_person(archive, "fraud", Person(["k1:1"], [])).entries

    assert (b"", b"") == (stored(kept).entry.answer, FieldCipher([FIRST]).decrypted(stored(kept)).entry.vector)


@pytest.mark.parametrize("text", ["", "ab" * 31, "xy" * 32, "ab" * 32 + "\n" + "cd" * 16])
def test_a_file_without_proper_keys_is_refused(tmp_path: Path, text: str) -> None:
    """A service whose keys are wrong must not become ready and write what nobody can read."""
    path = tmp_path / "keys"
    path.write_text(text)

    with pytest.raises(ArtefactError):
        FieldCipher.load(path)
    with pytest.raises(ArtefactError):
        FieldCipher.load(tmp_path / "none")
