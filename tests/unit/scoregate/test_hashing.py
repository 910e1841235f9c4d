"""Keyed hashes of identifiers."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoregate.errors import ArtefactError
from scoregate.hashing import KeyedHash


def test_the_hash_depends_on_secret_kind_and_value() -> None:
    """Only the same value of the same kind under the same secret is the same."""
    hashed, other = KeyedHash(b"a" * 32), KeyedHash(b"b" * 32)

    found = {hashed("phone", "1"), hashed("phone", "2"), hashed("email", "1"), other("phone", "1")}

    assert 4 == len(found)
    assert hashed("phone", "1") == KeyedHash(b"a" * 32)("phone", "1")
    assert 32 == len(hashed("phone", "1"))


def test_the_border_between_kind_and_value_counts() -> None:
    """Moving a letter from the kind to the value gives another hash."""
    hashed = KeyedHash(b"a" * 32)

    assert hashed("ab", "c") != hashed("a", "bc")


def test_the_ledger_form_names_the_key() -> None:
    """A hash in the ledger says which secret made it, so that secrets can be replaced."""
    hashed = KeyedHash(b"a" * 32)

    assert f"{hashed.key_id}:{hashed('phone', '1')}" == hashed.tagged("phone", "1")
    assert 8 == len(hashed.key_id)


def test_a_secret_is_made_once_and_private(tmp_path: Path) -> None:
    """The second start reads what the first one wrote, and nobody else may."""
    path = tmp_path / "new" / "hash.key"

    first = KeyedHash.create(path)

    assert first.key_id == KeyedHash.create(path).key_id
    assert 0o600 == path.stat().st_mode & 0o777
    assert [path] == list(path.parent.iterdir())


def test_a_missing_or_short_secret_is_refused(tmp_path: Path) -> None:
    """A service never hashes with a guessable secret."""
    with pytest.raises(ArtefactError):
        KeyedHash.load(tmp_path / "none")
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(ArtefactError):
        KeyedHash.load(tmp_path / "short")
