"""What is forgotten is gone, whose it was stays apart from everybody else, and the chain holds."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from scoregate.errors import KeyReused
from scoregate.events import FACTS, Effect
from scoregate.hashing import KeyedHash
from scoregate.ledger import Appended, Recorded
from scoregate.ledger.archive import Wanted
from scoregate.ledger.audit import audit
from scoregate.ledger.forgetting import Forgotten, Person, forget_person, months_ago, retain
from scoregate.ledger.opening import open_ledger
from unit.scoregate.ledger.kept import START_S, Kept, entry, event

EVEN = Person(["k1:0"], ["0" * 32])


def append(kept: Kept, number: int, **changes: object) -> Appended:
    async def write() -> Appended:
        ledger = await open_ledger(kept.url, "fraud")
        try:
            return await ledger.append(entry(number, **changes))
        finally:
            await ledger.close()

    return asyncio.run(write())


def events_left(kept: Kept, *keys: str) -> list[str]:
    async def read() -> list[str]:
        ledger = await open_ledger(kept.url, "fraud")
        try:
            return sorted(await ledger.recorded(keys))
        finally:
            await ledger.close()

    return asyncio.run(read())


def shown(kept: Kept, number: int) -> Recorded:
    with kept.archive() as archive:
        found = archive.get("fraud", f"decision-{number}")
    assert found
    return found


def test_a_person_is_forgotten_and_nobody_else(kept: Kept) -> None:
    """All that names or describes the person is gone, the rest and all others stay, and every chain verifies."""
    kept.fill(1, 2, 3, 4)

    with kept.archive() as archive:
        forgotten = forget_person(archive, "fraud", EVEN)

    assert Forgotten(2, 2, 0) == forgotten
    everything = ["answer", "idempotency_key", "natural_key", "personal.account_id", "personal.device_id", "vector"]
    two, three = shown(kept, 2), shown(kept, 3)
    assert (everything, []) == (two.forgotten, three.forgotten)
    assert ({}, b"", b"", "", None) == (
        two.entry.personal,
        two.entry.vector,
        two.entry.answer,
        two.entry.natural_key,
        two.entry.idempotency_key,
    )
    assert (0.25, "approve", entry(3)) == (two.entry.score, two.entry.outcome, three.entry)
    assert audit(kept.url, "fraud", processes=1).holds


def test_forgetting_again_finds_nothing(kept: Kept) -> None:
    """Whoever is forgotten cannot be found by a tag any more."""
    kept.fill(1, 2)

    with kept.archive() as archive:
        forget_person(archive, "fraud", EVEN)
        assert Forgotten(0, 0, 0) == forget_person(archive, "fraud", EVEN)


def test_a_forgotten_key_is_free_for_another_request(kept: Kept) -> None:
    """No key that names what was forgotten stays behind, further ones too; until then they stand."""
    kept.fill(1, 2)
    append(kept, 2, idempotency_key="idem-further", decision_id="other")
    with pytest.raises(KeyReused):
        append(kept, 9, natural_key="txn-2")

    with kept.archive() as archive:
        assert 1 == forget_person(archive, "fraud", EVEN).keys

    assert not append(kept, 9, natural_key="txn-2", idempotency_key="idem-further").replayed
    assert append(kept, 1, decision_id="other").replayed
    assert audit(kept.url, "fraud", processes=1).holds


def test_a_forgotten_request_is_not_decided_anew(kept: Kept) -> None:
    """A retry that comes after its decision was forgotten is refused, for as long as the decision is retained."""
    kept.fill(1, 2)

    with kept.archive() as archive:
        forget_person(archive, "fraud", EVEN)
        retain(archive, "fraud", START_S + 2)
        with pytest.raises(KeyReused):
            append(kept, 2, decision_id="anew")
        assert audit(kept.url, "fraud", processes=1).holds
        retain(archive, "fraud", START_S + 3)

    assert not append(kept, 2, decision_id="anew").replayed
    assert audit(kept.url, "fraud", processes=1).holds


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param("UPDATE keys SET key = 'digest-9' WHERE kind = 'forgotten'", id="another request's"),
        pytest.param("UPDATE keys SET seq = 1 WHERE kind = 'forgotten'", id="another decision's"),
    ],
)
def test_a_moved_digest_is_seen(kept: Kept, changed: str) -> None:
    """Verify holds the digest of a forgotten request against the entry that it leads to."""
    kept.fill(1, 2)
    with kept.archive() as archive:
        forget_person(archive, "fraud", EVEN)

    kept.change(changed)

    (broken,) = audit(kept.url, "fraud", processes=1).broken
    assert broken.why.startswith("a key leads to it")


def test_events_about_the_person_go_too(kept: Kept) -> None:
    """Events about a forgotten decision go, and those that hold the person's hash; others keep their numbers."""
    facts = event(7, key="facts:p", stream=FACTS, effect=Effect.FACTS, subject="0" * 32, row={}, view="account")
    label = event(2, key="label:txn-2:1", effect=Effect.LABEL, row={}, is_bad=True)
    elsewhere = event(8, key="count:txn-8", subject="txn-8")
    stays = event(3, key="label:txn-3:1", effect=Effect.LABEL, is_bad=True)
    kept.fill(1, 2, 3, events=[facts, label, elsewhere, stays])

    with kept.archive() as archive:
        assert 4 == forget_person(archive, "fraud", EVEN).events

    known = ("count:txn-1", "count:txn-2", "count:txn-3", "count:txn-8", "label:txn-2:1", "label:txn-3:1", "facts:p")
    assert ["count:txn-1", "count:txn-3", "label:txn-3:1"] == events_left(kept, *known)


def test_what_is_older_than_the_retention_is_forgotten(kept: Kept) -> None:
    """By the time of the decision and of the event, of everybody, and once."""
    kept.fill(1, 2, 3, 4, 5)

    with kept.archive() as archive:
        assert 3 == archive.count("fraud", Wanted(until_s=START_S + 4, whole=True))
        assert Forgotten(3, 3, 0) == retain(archive, "fraud", START_S + 4)
        assert Forgotten(0, 0, 0) == retain(archive, "fraud", START_S + 4)

    assert [True, True, True, False, False] == [bool(shown(kept, number).forgotten) for number in (1, 2, 3, 4, 5)]
    assert audit(kept.url, "fraud", processes=1).holds


def test_many_pages_are_forgotten(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person with more decisions than a transaction takes is forgotten whole."""
    monkeypatch.setattr("scoregate.ledger.forgetting.AT_ONCE", 2)
    kept.fill(*range(0, 14, 2), 15)

    with kept.archive() as archive:
        assert 7 == forget_person(archive, "fraud", EVEN).entries
        assert 1 == archive.count("fraud", Wanted(whole=True))


def test_a_file_keeps_no_trace(kept: Kept, tmp_path: Path) -> None:
    """What is forgotten is not left in the file's free pages, nor in its log."""
    if "sqlite" not in kept.url:
        pytest.skip("a server frees its pages by itself")
    secret = b"needle-in-the-answer"
    kept.fill(1, entries=[entry(2, answer=b'{"a":"' + secret + b'"}', natural_key="needle-key")])

    with kept.archive() as archive:
        forget_person(archive, "fraud", EVEN)

    left = b"".join(path.read_bytes() for path in tmp_path.glob("fraud.db*"))
    assert (False, False) == (secret in left, b"needle-key" in left)


def test_a_rotated_key_finds_earlier_decisions(kept: Kept, tmp_path: Path) -> None:
    """Tags follow the newest key, and a person is found under every one; entities and digests keep theirs."""
    path = tmp_path / "hash.key"
    before = KeyedHash.create(path)
    after = KeyedHash.rotate(path)
    for number, hashed in ((1, before), (2, after)):
        kept.fill(entries=[entry(number, personal={"account_id": hashed.tagged("account_id", "a1")})])

    person = Person.of(after, "account_id", "a1")

    assert before.tagged("account_id", "a1") != after.tagged("account_id", "a1")
    assert before("account", "a1") == after("account", "a1") == person.hashes[1]
    with kept.archive() as archive:
        assert 2 == forget_person(archive, "fraud", person).entries


@pytest.mark.parametrize(
    ("now", "months", "then"),
    [((2029, 3, 31), 1, (2029, 2, 28)), ((2029, 1, 15), 1, (2028, 12, 15)), ((2029, 3, 1), 25, (2027, 2, 1))],
)
def test_months_are_calendar_months(now: tuple[int, int, int], months: int, then: tuple[int, int, int]) -> None:
    """A retention of months ends on the same day of its month, or on that month's last."""
    assert datetime(*then, tzinfo=UTC).timestamp() == months_ago(months, datetime(*now, tzinfo=UTC))


def test_a_ledger_of_the_earlier_schema_is_searched(kept: Kept, tmp_path: Path) -> None:
    """Looking into a file changes nothing in it, also where its schema is an earlier one."""
    if "sqlite" not in kept.url:
        pytest.skip("this is about files")
    kept.fill(1)
    kept.change("DROP INDEX entries_decided_at; ALTER TABLE entries DROP COLUMN shadow; PRAGMA user_version = 2")

    with kept.archive() as archive:
        assert [entry(1)] == [one.entry for one in archive.search("fraud", Wanted(since_s=START_S))]
    with closing(sqlite3.connect(tmp_path / "fraud.db")) as db:
        assert (2,) == db.execute("PRAGMA user_version").fetchone()
