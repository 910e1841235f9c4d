"""Keyed hashes of identifiers: equal values stay equal, and without the secret nobody can try values out."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path

from scoregate.errors import ArtefactError


class KeyedHash:
    """Hashes identifiers with one secret. The kind goes in too, so that a phone never equals a document."""

    __slots__ = ("_secret", "key_id")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self.key_id = hashlib.sha256(secret).hexdigest()[:8]

    @classmethod
    def load(cls, path: Path) -> KeyedHash:
        """Read the secret.

        Raises:
            ArtefactError: it is not there or too short to be a secret.
        """
        try:
            secret = path.read_bytes()
        except OSError as problem:
            raise ArtefactError(f"the secret for keyed hashes cannot be read: {problem.strerror}") from problem
        if len(secret) < 32:
            raise ArtefactError("the secret for keyed hashes is shorter than 32 bytes")
        return cls(secret)

    @classmethod
    def create(cls, path: Path) -> KeyedHash:
        """Read the secret, after writing a random one, readable by its owner alone, where there was none."""
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            fresh = path.with_name(f"{path.name}.{os.getpid()}")
            fresh.touch(mode=0o600, exist_ok=False)
            fresh.write_bytes(secrets.token_bytes(32))
            try:
                # Unlike a rename this never replaces a secret that another process wrote meanwhile.
                os.link(fresh, path)
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return cls.load(path)

    def __call__(self, kind: str, value: str) -> str:
        """Hash a value to 32 hex digits."""
        text = f"{kind}\0{value}".encode()
        return hashlib.blake2b(text, digest_size=16, key=self._secret[:64]).hexdigest()

    def tagged(self, kind: str, value: str) -> str:
        """Hash a value and say with which key: `<key id>:<hex>`."""
        return f"{self.key_id}:{self(kind, value)}"
