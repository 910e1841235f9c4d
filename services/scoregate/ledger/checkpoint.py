r"""A checkpoint: a signed statement of every writer's head, kept where who writes to the ledger's database cannot.

    signed    = "scoregate-checkpoint-1\n" | the statement as JSON: keys sorted, no spaces, ASCII
    signature = Ed25519 of `signed`
    previous  = sha256 of the `signed` of the checkpoint before, hex; null for the first, whose number is 1
    line      = {"statement": {…}, "signature": hex}

A statement holds the heads that moved since the one before, or, where `is_full`, all: [writer, seq, hash], in order.
A writer's entries are counted from 1 without gaps, so its seq is its count; `entries` is the sum over all writers.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from scoregate.errors import ArtefactError
from scoregate.hashing import write_once
from scoregate.values import frozen

FORMAT = 1
MAGIC = b"scoregate-checkpoint-1\n"
Head = tuple[str, int, str]
"""Writer, seq, hash as hex."""


class SigningKey:
    """Signs checkpoints. `key_id` is the beginning of the hash of its public key."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = private.public_key()
        self.key_id = id_of(self.public)

    @classmethod
    def create(cls, path: Path) -> Self:
        """Read the key, after writing one, readable by its owner alone, where there was none.

        Raises:
            ArtefactError: it cannot be read, or is no Ed25519 key.
        """
        fresh = Ed25519PrivateKey.generate()
        try:
            write_once(path, fresh.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            key = load_pem_private_key(path.read_bytes(), password=None)
        except (OSError, ValueError, TypeError) as problem:
            raise ArtefactError(f"the key of checkpoints cannot be read: {type(problem).__name__}") from problem
        if not isinstance(key, Ed25519PrivateKey):
            raise ArtefactError("the key of checkpoints is no Ed25519 key")
        return cls(key)

    def sign(self, signed: bytes) -> str:
        return self._private.sign(signed).hex()

    def public_pem(self) -> bytes:
        return self.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def public_key(path: Path) -> Ed25519PublicKey:
    """Read a public key.

    Raises:
        ArtefactError: it cannot be read, or is no Ed25519 key.
    """
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as problem:
        raise ArtefactError(f"the public key of checkpoints cannot be read: {type(problem).__name__}") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise ArtefactError("the public key of checkpoints is no Ed25519 key")
    return key


def id_of(key: Ed25519PublicKey) -> str:
    return sha256(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).hexdigest()[:8]


@frozen
class Statement:
    """What is signed; see the module."""

    service: str
    number: int
    at_us: int
    is_full: bool
    heads: Sequence[Head]
    entries: int
    previous: str | None
    key: str
    format: int = FORMAT

    def signed(self) -> bytes:
        return MAGIC + json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()

    def digest(self) -> str:
        return sha256(self.signed()).hexdigest()


def next_statement(
    service: str, heads: Sequence[Head], last: Statement | None, known: Mapping[str, Head] | None, key_id: str
) -> Statement:
    """State the heads after `last`. `known` are those stated so far, of which only what differs is stated again."""
    moved = heads if known is None else [head for head in heads if known.get(head[0]) != head]
    return Statement(
        service=service,
        number=last.number + 1 if last else 1,
        # A clock that goes back must not put a checkpoint before its predecessor.
        at_us=max(time.time_ns() // 1000, last.at_us if last else 0),
        is_full=known is None,
        heads=sorted(moved),
        entries=sum(seq for _, seq, _ in heads),
        previous=last.digest() if last else None,
        key=key_id,
    )


def contradicted(heads: Iterable[Head], known: Mapping[str, Head]) -> list[str]:
    """Return the writers whose head cannot follow what was stated: gone, gone back, or another one in its place."""
    now = {head[0]: head for head in heads}
    return [
        writer
        for writer, stated in known.items()
        if (head := now.get(writer)) is None or head[1] < stated[1] or (head[1] == stated[1] and head != stated)
    ]


def write(statement: Statement, key: SigningKey) -> bytes:
    said = {"statement": asdict(statement), "signature": key.sign(statement.signed())}
    return json.dumps(said, separators=(",", ":")).encode() + b"\n"


def parse(line: bytes) -> tuple[Statement, str]:
    """Read a line: the statement, and the signature that it claims.

    Raises:
        ValueError: it is something else.
    """
    try:
        said: Mapping[str, Any] = json.loads(line)
        fields = dict(said["statement"])
        fields["heads"] = [(str(writer), int(seq), str(hash_)) for writer, seq, hash_ in fields["heads"]]
        return Statement(**fields), str(said["signature"])
    except (KeyError, TypeError, AttributeError) as problem:
        raise ValueError("this is no checkpoint") from problem


def fault(
    statement: Statement, signature: str, last: Statement | None, service: str, keys: Mapping[str, Ed25519PublicKey]
) -> str | None:
    """Return what is wrong with a checkpoint that comes after `last`, or None."""
    if statement.format != FORMAT or statement.service != service:
        return "it is of another format or service"
    if last is None and statement.number != 1 and not statement.is_full:
        return "those before it are missing"
    if last is not None and (statement.number, statement.previous) != (last.number + 1, last.digest()):
        return f"it does not follow checkpoint {last.number}"
    if statement.key not in keys:
        return f"it is signed with key {statement.key}, which is not among those to trust"
    try:
        keys[statement.key].verify(bytes.fromhex(signature), statement.signed())
    except (InvalidSignature, ValueError):
        return "its signature does not hold"
    return None
