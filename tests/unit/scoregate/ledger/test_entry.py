"""The bytes and hashes of an entry: what an auditor's own program must compute too."""

from __future__ import annotations

import struct
from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest

from scoregate.ledger import Broken, Entry, Recorded
from scoregate.ledger.entry import GENESIS, check, first_broken, format_of, link, seal

ENTRY = Entry(
    decision_id="d1",
    service="fraud",
    natural_key="t1",
    idempotency_key="i1",
    request_digest="r1",
    outcome="approve",
    score=0.25,
    source="model",
    rung="full",
    vector=struct.pack("<2d", 1.0, 2.0),
    ages="{}",
    personal={"b": "k1:02", "a": "k1:01"},
    answer=b"{}",
    model_digest="m",
    policy_digest="p",
    feature_digest="f",
    arm="stable",
    trace_id="tr",
    event_at=1.5,
    decided_at=2.5,
)


def counted(n: int) -> bytes:
    """Salts that can be told apart: 16 zeros, 16 ones, and so on."""
    return b"".join(bytes([i]) * 16 for i in range(n // 16))


def recorded(entry: Entry, previous: bytes = GENESIS, seq: int = 1) -> Recorded:
    sealed = seal(entry, counted)
    return Recorded(
        entry=entry,
        writer="w",
        seq=seq,
        previous_hash=previous.hex(),
        hash=link(previous, sealed.canonical, "w", seq).hex(),
        salts={name: salt.hex() for name, salt in sealed.salts.items()},
        commitments={name: digest.hex() for name, digest in sealed.commitments.items()},
        format=format_of(entry),
    )


def test_format_1_is_what_the_docstring_says() -> None:
    """The hash follows from the written format alone, so that entries stay verifiable without this code."""

    def u32(number: int) -> bytes:
        return struct.pack("<I", number)

    values = [
        (b"answer", b"{}"),
        (b"idempotency_key", b"i1"),
        (b"natural_key", b"t1"),
        (b"personal.a", b"k1:01"),
        (b"personal.b", b"k1:02"),
        (b"vector", struct.pack("<2d", 1.0, 2.0)),
    ]
    parts = [b"d1", b"fraud", b"r1", b"approve", b"model", b"full", b"{}", b"m", b"p", b"f", b"stable", b"tr"]
    parts += [struct.pack("<d", number) for number in (0.25, 1.5, 2.5)]
    for i, (name, value) in enumerate(values):
        parts += [name, sha256(bytes([i]) * 16 + u32(len(name)) + name + value).digest()]
    canonical = b"scoregate-entry-1\n" + u32(len(parts)) + b"".join(u32(len(part)) for part in parts) + b"".join(parts)
    expected = sha256(bytes(32) + canonical + u32(1) + b"w" + struct.pack("<Q", 1)).hexdigest()

    assert expected == recorded(ENTRY).hash


@pytest.mark.parametrize("name", [field.name for field in fields(Entry)])
def test_the_hash_covers_every_field(name: str) -> None:
    """Whatever field is altered, the entry does not verify, so that a new field cannot be left out."""
    value = getattr(ENTRY, name)
    others: dict[type, Any] = {
        type(None): "other",
        str: "other",
        bytes: b"other",
        float: 7.0,
        dict: {"a": "k1:01", "b": "k1:03"},
    }
    altered = replace(recorded(ENTRY), entry=replace(ENTRY, **{name: others[type(value)]}))

    assert check(recorded(ENTRY), GENESIS) is None
    assert check(altered, GENESIS) is not None


def test_text_cannot_move_between_fields() -> None:
    """Lengths are hashed too: equal characters cut elsewhere are another entry."""
    moved = replace(ENTRY, model_digest="mp", policy_digest="")

    assert recorded(ENTRY).hash != recorded(moved).hash


def test_absent_is_not_empty() -> None:
    """No score is not a score of 0, and no idempotency key not an empty one."""
    hashes = {
        recorded(ENTRY).hash,
        recorded(replace(ENTRY, score=None)).hash,
        recorded(replace(ENTRY, score=0.0)).hash,
        recorded(replace(ENTRY, idempotency_key=None)).hash,
        recorded(replace(ENTRY, idempotency_key="")).hash,
    }

    assert 5 == len(hashes)


def test_a_negative_zero_is_a_zero() -> None:
    """SQLite drops the sign of a zero, so the hash must not depend on it."""
    assert recorded(replace(ENTRY, score=0.0)).hash == recorded(replace(ENTRY, score=-0.0)).hash


def test_the_place_in_the_chain_is_covered() -> None:
    """The same entry elsewhere, after another, or by another writer has another hash."""
    canonical = seal(ENTRY, counted).canonical
    places = [(GENESIS, "w", 1), (GENESIS, "w", 2), (GENESIS, "v", 1), (bytes([1]) * 32, "w", 1)]

    assert 4 == len({link(previous, canonical, writer, seq) for previous, writer, seq in places})


def test_forgetting_needs_value_and_salt_to_go() -> None:
    """With both gone an entry verifies; with one of them left it is broken, for the value could be guessed."""
    whole = recorded(ENTRY)
    salts = {name: salt for name, salt in whole.salts.items() if name != "personal.a"}
    value_gone = replace(ENTRY, personal={"b": "k1:02"})

    assert check(replace(whole, entry=value_gone, salts=salts), GENESIS) is None
    assert "personal.a is there without its salt" == check(replace(whole, salts=salts), GENESIS)
    assert "personal.a is gone, but its salt is there" == check(replace(whole, entry=value_gone), GENESIS)


def test_a_value_that_was_never_there_cannot_be_added() -> None:
    """An empty key put in where there was none is no forgotten one."""
    without = recorded(replace(ENTRY, idempotency_key=None))
    added = replace(without, entry=replace(without.entry, idempotency_key=""))

    assert check(without, GENESIS) is None
    assert "idempotency_key was never committed to" == check(added, GENESIS)


def test_a_shadow_is_covered_by_format_2_and_cannot_be_added_or_taken() -> None:
    """An entry of either format verifies, and none passes for one of the other."""
    without, shadowed = recorded(ENTRY), recorded(replace(ENTRY, shadow='{"score":0.5}'))
    added = replace(without, entry=replace(ENTRY, shadow='{"score":0.5}'))
    changed = replace(shadowed, entry=replace(ENTRY, shadow='{"score":0.4}'))
    taken = replace(shadowed, entry=ENTRY)

    assert [None, None] == [check(one, GENESIS) for one in (without, shadowed)]
    assert all(check(one, GENESIS) for one in (added, changed, taken, replace(taken, format=1)))


def test_an_unknown_format_is_not_guessed() -> None:
    """An entry of a later format is named, not called forged."""
    assert "its format 3 is not known" == check(replace(recorded(ENTRY), format=3), GENESIS)


def test_the_first_broken_entry_is_named() -> None:
    """A chain is walked from genesis to the head that its writer left, and the first fault ends the walk."""
    one = recorded(ENTRY)
    two = recorded(ENTRY, bytes.fromhex(one.hash), 2)
    head = bytes.fromhex(two.hash)

    def walk(*chain: Recorded, last: int = 2, head: bytes = head) -> Broken | None:
        return first_broken("w", chain, last, head)

    assert walk(one, two) is None
    assert Broken("w", 1, None, "it is missing") == walk(two)
    assert Broken("w", 2, None, "it is missing, and all after it") == walk(one)
    assert Broken("w", 1, "d1", "it stands out of order") == walk(one, one)
    assert Broken("w", 2, "d1", "it comes after the head that its writer left") == walk(one, two, last=1)
    assert Broken("w", 2, "d1", "it is not the head that its writer left") == walk(one, two, head=GENESIS)
