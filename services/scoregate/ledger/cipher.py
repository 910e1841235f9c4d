r"""Vector and answer of an entry and the columns of an event, encrypted at rest with AES-256-GCM.

    value = "\0scoregate-encrypted-1\n" | key id, 4 bytes | nonce, 12 bytes | ciphertext with its tag

Decision id (of an event, its key) and name of the field are authenticated, so that no value passes for another one.
An event's columns become one column, `ENCRYPTED_ROW`, with the value in base64.
The key file has a key of 32 bytes per line, in hex: the last one encrypts, each decrypts. Without the file nothing is
encrypted, and what was written before there was a key is read as it is.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from scoregate.errors import ArtefactError, LedgerUnavailable
from scoregate.events import Event
from scoregate.ledger import Entry, Recorded

MAGIC = b"\0scoregate-encrypted-1\n"
FIELDS = ("vector", "answer")
ENCRYPTED_ROW = "scoregate-encrypted"
KEY_BYTES, ID_BYTES, NONCE_BYTES = 32, 4, 12

_json = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode


class FieldCipher:
    """Encrypts with the last of its keys, where it has any."""

    def __init__(self, keys: list[bytes]) -> None:
        self._keys: Mapping[bytes, AESGCM] = {_id(key): AESGCM(key) for key in keys}
        self._last = _id(keys[-1]) if keys else None

    @classmethod
    def load(cls, path: Path | None) -> Self:
        """Read the keys; none without a file.

        Raises:
            ArtefactError: it cannot be read, or is no file of keys.
        """
        if path is None:
            return cls([])
        try:
            keys = [bytes.fromhex(line) for line in path.read_text().split()]
        except (OSError, ValueError) as problem:
            raise ArtefactError(f"the ledger's keys cannot be read: {type(problem).__name__}") from problem
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            raise ArtefactError(f"a key of the ledger is {KEY_BYTES} bytes in hex, one a line")
        return cls(keys)

    def encrypted(self, entry: Entry) -> Entry:
        if self._last is None:
            return entry
        id_ = entry.decision_id
        return replace(
            entry,
            vector=self._encrypt(entry.vector, id_, "vector"),
            answer=self._encrypt(entry.answer, id_, "answer"),
        )

    def encrypted_event(self, event: Event) -> Event:
        """Return an event whose columns cannot be read; key, times and label stay plain."""
        if self._last is None or not event.row:
            return event
        row = self._encrypt(_json(dict(event.row)).encode(), event.key, "row")
        return replace(event, row={ENCRYPTED_ROW: b64encode(row).decode()})

    def decrypted_event(self, event: Event) -> Event:
        """Return an event as it was before `encrypted_event`. Raises as `decrypted` does."""
        if ENCRYPTED_ROW not in event.row:
            return event
        row = self.decrypt(b64decode(event.row[ENCRYPTED_ROW]), event.key, "row")
        return replace(event, row=json.loads(row))

    def decrypted(self, recorded: Recorded) -> Recorded:
        """Return an entry as it was before `encrypted`; its commitments and hash are those of what is stored.

        Raises:
            LedgerUnavailable: it was encrypted with a key that is not there, or was changed since.
        """
        entry = recorded.entry
        vector, answer = (self.decrypt(getattr(entry, name), entry.decision_id, name) for name in FIELDS)
        return replace(recorded, entry=replace(entry, vector=vector, answer=answer))

    def decrypt(self, value: bytes, of: str, name: str) -> bytes:
        """Return one field's value. Raises as `decrypted` does."""
        if not value.startswith(MAGIC):
            return value
        key_id, rest = value[len(MAGIC) :][:ID_BYTES], value[len(MAGIC) + ID_BYTES :]
        if key_id not in self._keys:
            raise LedgerUnavailable(f"{name} is encrypted with key {key_id.hex()}, which is not there")
        try:
            return self._keys[key_id].decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], _about(of, name))
        except InvalidTag as problem:
            raise LedgerUnavailable(f"{name} is not what was encrypted") from problem

    def _encrypt(self, value: bytes, of: str, name: str) -> bytes:
        if self._last is None or not value:
            return value
        nonce = os.urandom(NONCE_BYTES)
        return MAGIC + self._last + nonce + self._keys[self._last].encrypt(nonce, value, _about(of, name))


PLAIN = FieldCipher([])
"""Encrypts nothing, and decrypts nothing either."""


def _about(of: str, name: str) -> bytes:
    return f"{of}\0{name}".encode()


def _id(key: bytes) -> bytes:
    return sha256(key).digest()[:ID_BYTES]
