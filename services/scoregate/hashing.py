"""Keyed hashes of identifiers: equal values stay equal, and without the secret nobody can try values out.

hash.key                  entities of the feature store, and digests of requests: replacing it begins both anew
hash-keys/<nnnn>-<id>.key beside it, from the first rotation on: the tags of persons in the ledger; the last is used,
                          and all are kept, so that what was tagged with an earlier one is found
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from scoregate.errors import ArtefactError

LATER = "hash-keys"


class KeyedHash:
    """Hashes identifiers. The kind goes in too, so that a phone never equals a document.

    `later` are the secrets that tags were rotated to, in their order.
    """

    __slots__ = ("_secret", "_tagging", "key_id")

    def __init__(self, secret: bytes, later: Sequence[bytes] = ()) -> None:
        self._secret = secret
        self._tagging = [(_id(one), one) for one in (*reversed(later), secret)]
        self.key_id = _id(secret)

    @classmethod
    def load(cls, path: Path) -> KeyedHash:
        """Read the secret, and those that tags were rotated to.

        Raises:
            ArtefactError: one is not there or too short to be a secret.
        """
        return cls(_read(path), [_read(later) for later in _later(path)])

    @classmethod
    def create(cls, path: Path) -> KeyedHash:
        """Read the secret, after writing a random one, readable by its owner alone, where there was none."""
        write_once(path, secrets.token_bytes(32))
        return cls.load(path)

    @classmethod
    def rotate(cls, path: Path) -> KeyedHash:
        """Let tags be made with a new secret, in each process from its next start on; look-ups try the earlier too.

        Raises:
            ArtefactError: there is nothing to rotate.
        """
        cls.load(path)
        fresh = secrets.token_bytes(32)
        number = 1 + max((int(later.name[:4]) for later in _later(path)), default=0)
        write_once(path.with_name(LATER) / f"{number:04}-{_id(fresh)}.key", fresh)
        return cls.load(path)

    def __call__(self, kind: str, value: str) -> str:
        """Hash a value to 32 hex digits."""
        return _hash(self._secret, kind, value)

    def tagged(self, kind: str, value: str) -> str:
        """Hash a value and say with which key: `<key id>:<hex>`."""
        key_id, secret = self._tagging[0]
        return f"{key_id}:{_hash(secret, kind, value)}"

    def tags(self, kind: str, value: str) -> list[str]:
        """Return every tag that the value may have been given, that of the newest key first."""
        return [f"{key_id}:{_hash(secret, kind, value)}" for key_id, secret in self._tagging]


def write_once(path: Path, content: bytes) -> None:
    """Write a secret, readable by its owner alone, unless there is one."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
    fresh.touch(mode=0o600, exist_ok=False)
    fresh.write_bytes(content)
    try:
        # Unlike a rename this never replaces a secret that another process wrote meanwhile.
        os.link(fresh, path)
    except FileExistsError:
        pass
    finally:
        fresh.unlink()


def _hash(secret: bytes, kind: str, value: str) -> str:
    return hashlib.blake2b(f"{kind}\0{value}".encode(), digest_size=16, key=secret[:64]).hexdigest()


def _id(secret: bytes) -> str:
    return hashlib.sha256(secret).hexdigest()[:8]


def _later(path: Path) -> list[Path]:
    return sorted(path.with_name(LATER).glob("[0-9][0-9][0-9][0-9]-*.key"))


def _read(path: Path) -> bytes:
    try:
        secret = path.read_bytes()
    except OSError as problem:
        raise ArtefactError(f"the secret for keyed hashes cannot be read: {problem.strerror}") from problem
    if len(secret) < 32:
        raise ArtefactError("the secret for keyed hashes is shorter than 32 bytes")
    return secret
