r"""What an entry's hash covers, byte for byte; pure, and the same for every adapter.

    commitment = sha256(salt, 16 random bytes | length of name, u32 | name | value)
    canonical  = "scoregate-entry-<format>\n" | number of parts, u32 | length of each part, u32 | the parts
    hash       = sha256(previous hash, 32 bytes | canonical | length of writer, u32 | writer | seq, u64)

Integers are little-endian, text is UTF-8, a float is an IEEE 754 double, an absent one a part of length 0.
The parts of format 1 are the fields of `PLAIN_TEXT`, then of `PLAIN_FLOATS`, then name and commitment of each committed
field, in order of name.
Format 2 is for entries that have a `shadow`: it is one more part, after the fields of `PLAIN_TEXT`.
Committed is what may have to be forgotten: the fields of `COMMITTED`, and each personal one as `personal.<name>`.
To forget is to drop value and salt: the commitment stays, the hash still verifies, and the value cannot be guessed.
A later format gets its own lines here and its own function in `FORMATS`; the earlier ones stay for the old entries.
What an entry holds says which format it is of, so that nothing can be added that its hash does not cover.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from operator import attrgetter

from scoregate.errors import KeyReused
from scoregate.ledger import Appended, Broken, Entry, Recorded
from scoregate.values import frozen

GENESIS = bytes(32)
"""The previous hash of a writer's first entry, whose `seq` is 1."""

PLAIN_TEXT = (
    "decision_id",
    "service",
    "request_digest",
    "outcome",
    "source",
    "rung",
    "ages",
    "model_digest",
    "policy_digest",
    "feature_digest",
    "arm",
    "trace_id",
)
PLAIN_FLOATS = ("score", "event_at", "decided_at")
COMMITTED = ("natural_key", "idempotency_key", "vector", "answer")
"""Keys are the caller's words and may name a person; vector and answer describe one."""
PERSONAL = "personal."
FORGOTTEN = "forgotten"
"""Kind of key under which a decision that was forgotten stands: the digest of its request, which stays."""
SALT_BYTES = 16
NONE_SIGNED: Mapping[int, tuple[str, int]] = {}

_texts = attrgetter(*PLAIN_TEXT)
_floats = attrgetter(*PLAIN_FLOATS)
_double = struct.Struct("<d").pack


@frozen
class Sealed:
    """An entry with fresh salts, and the bytes that its hash will cover."""

    entry: Entry
    salts: Mapping[str, bytes]
    commitments: Mapping[str, bytes]
    canonical: bytes


@frozen
class Earlier:
    """The decision that a key already stands for; `answer` is None once it was forgotten."""

    decision_id: str
    request_digest: str
    answer: bytes | None
    writer: str
    seq: int


def keys(entry: Entry) -> list[tuple[str, str]]:
    """Return the (kind, key) pairs that may stand for one decision of the service only."""
    pairs = [("natural", entry.natural_key)]
    if entry.idempotency_key is not None:
        pairs.append(("idempotency", entry.idempotency_key))
    return pairs


def asked(entry: Entry) -> list[tuple[str, str]]:
    """Return the keys under which an earlier decision may stand: its own, and last that of the request where it was
    forgotten."""
    return [*keys(entry), (FORGOTTEN, entry.request_digest)]


def replay(entry: Entry, earlier: Sequence[Earlier]) -> Appended:
    """Return the answer that one of the entry's keys was given before.

    Raises:
        KeyReused: a key was used with another request, or its answer has been forgotten.
    """
    if any(hit.request_digest != entry.request_digest for hit in earlier):
        raise KeyReused
    first = earlier[0]
    if first.answer is None:
        raise KeyReused("The key was used for a decision whose answer has been forgotten")
    return Appended(first.decision_id, first.answer, replayed=True)


def seal(entry: Entry, random: Callable[[int], bytes] = os.urandom) -> Sealed:
    """Draw salts, commit to what may be forgotten, and write the entry canonically.

    Raises:
        ValueError: a number is not finite (no store keeps it bit for bit), or a text is not valid Unicode.
    """
    for number in _floats(entry):
        if number is not None and not math.isfinite(number):
            raise ValueError("an entry's numbers must be finite")
    values = committed_values(entry)
    pool = random(SALT_BYTES * len(values))
    salts: dict[str, bytes] = {}
    commitments: dict[str, bytes] = {}
    start = 0
    for name, value in values.items():
        salts[name] = salt = pool[start : start + SALT_BYTES]
        commitments[name] = commitment(salt, name, value)
        start += SALT_BYTES
    return Sealed(entry, salts, commitments, canonical(entry, commitments))


def committed_values(entry: Entry) -> dict[str, bytes]:
    """Return the bytes of each committed field by name, in order of name; absent ones are left out."""
    values = {"answer": entry.answer}
    if entry.idempotency_key is not None:
        values["idempotency_key"] = entry.idempotency_key.encode()
    values["natural_key"] = entry.natural_key.encode()
    for name in sorted(entry.personal):
        values[PERSONAL + name] = entry.personal[name].encode()
    values["vector"] = entry.vector
    return values


def commitment(salt: bytes, name: str, value: bytes) -> bytes:
    return sha256(salt + _framed(name) + value).digest()


def format_of(entry: Entry) -> int:
    return 1 if entry.shadow is None else 2


def canonical(entry: Entry, commitments: Mapping[str, bytes]) -> bytes:
    """Write an entry as the bytes of its format, commitments in place of what may be forgotten."""
    return FORMATS[format_of(entry)](entry, commitments)


def link(previous: bytes, written: bytes, writer: str, seq: int) -> bytes:
    """Return the hash of the canonical bytes `written`, chained to the writer's previous hash."""
    return sha256(previous + written + _framed(writer) + seq.to_bytes(8, "little")).digest()


def check(recorded: Recorded, previous: bytes) -> str | None:
    """Return why this entry does not follow `previous`, or None when it does."""
    if recorded.format not in FORMATS:
        return f"its format {recorded.format} is not known"
    if recorded.format != format_of(recorded.entry):
        return f"it holds what its format {recorded.format} does not cover, or less"
    try:
        return _check(recorded, previous)
    except (AttributeError, TypeError, ValueError, struct.error):
        return "it cannot be read"


def _check(recorded: Recorded, previous: bytes) -> str | None:  # noqa: PLR0911  a return per fault
    salts = {name: bytes.fromhex(salt) for name, salt in recorded.salts.items()}
    commitments = {name: bytes.fromhex(digest) for name, digest in recorded.commitments.items()}
    values = committed_values(recorded.entry)
    for name in salts:
        if name not in values:
            return f"{name} is gone, but its salt is there"
    for name, value in values.items():
        if name not in commitments:
            return f"{name} was never committed to"
        if name in salts and commitment(salts[name], name, value) != commitments[name]:
            return f"{name} differs from its commitment"
        if value and name not in salts:
            return f"{name} is there without its salt"
    if recorded.previous_hash != previous.hex():
        return "it does not follow the entry before it"
    written = canonical(recorded.entry, commitments)
    if link(previous, written, recorded.writer, recorded.seq).hex() != recorded.hash:
        return "its hash does not cover what it holds"
    return None


def first_broken(  # noqa: PLR0911  a return per fault
    writer: str,
    entries: Iterable[Recorded | Broken],
    last: int,
    head: bytes | None,
    *,
    start: tuple[int, bytes] = (0, GENESIS),
    signed: Mapping[int, tuple[str, int]] = NONE_SIGNED,
) -> Broken | None:
    """Walk a writer's entries in order, from after `start` up to seq `last`, whose hash has to be `head` where given.

    A `Broken` among the entries is one that could not be read. `signed` are hashes by seq that checkpoints hold, each
    with the checkpoint's number.
    """
    (seq, previous), decision_id = start, None
    agreed = "the beginning"
    for recorded in entries:
        if isinstance(recorded, Broken):
            return recorded
        seq, decision_id = seq + 1, recorded.entry.decision_id
        if recorded.seq > seq:
            return Broken(writer, seq, None, "it is missing")
        if recorded.seq < seq:
            return Broken(writer, recorded.seq, decision_id, "it stands out of order")
        if why := check(recorded, previous):
            return Broken(writer, seq, decision_id, why)
        if seq > last:
            return Broken(writer, seq, decision_id, "it comes after the head that its writer left")
        if seq in signed:
            hash_, number = signed[seq]
            if hash_ != recorded.hash:
                return Broken(
                    writer,
                    seq,
                    decision_id,
                    f"it or one before it, after {agreed}, is not what checkpoint {number} signed",
                )
            agreed = f"entry {seq}"
        previous = bytes.fromhex(recorded.hash)
    if seq < last:
        return Broken(writer, seq + 1, None, "it is missing, and all after it")
    if head is not None and previous != head:
        return Broken(writer, seq, decision_id, "it is not the head that its writer left")
    return None


@lru_cache(maxsize=256)
def _framed(text: str) -> bytes:
    encoded = text.encode()
    return len(encoded).to_bytes(4, "little") + encoded


def _format_1(entry: Entry, commitments: Mapping[str, bytes]) -> bytes:
    return _written(b"scoregate-entry-1\n", entry, [*_texts(entry)], commitments)


def _format_2(entry: Entry, commitments: Mapping[str, bytes]) -> bytes:
    return _written(b"scoregate-entry-2\n", entry, [*_texts(entry), entry.shadow or ""], commitments)


def _written(name: bytes, entry: Entry, texts: Iterable[str], commitments: Mapping[str, bytes]) -> bytes:
    parts = [*map(str.encode, texts)]
    # `+ 0.0` because SQLite does not keep the sign of a negative zero.
    parts += [b"" if number is None else _double(number + 0.0) for number in _floats(entry)]
    for field in sorted(commitments):
        parts += (field.encode(), commitments[field])
    lengths = struct.pack(f"<{len(parts) + 1}I", len(parts), *map(len, parts))
    return b"".join((name, lengths, *parts))


FORMATS: Mapping[int, Callable[[Entry, Mapping[str, bytes]], bytes]] = {1: _format_1, 2: _format_2}
