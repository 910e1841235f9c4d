"""The demo key of a local stack."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoregate.local.credentials import demo_key_file, ensure_credentials
from scoregate.serving.keys import Keys
from scoregate.settings import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, keys_file=None, hash_key_file=None)


def test_key_opens_every_service(settings: Settings) -> None:
    """The key that `up` prints is one that the services take, for every scope."""

    key = ensure_credentials(settings)

    principal = Keys(settings.keys_path).find(key)
    assert principal is not None
    assert principal.may("anything", "score")


def test_warm_start_prints_the_same_key(settings: Settings) -> None:
    """A key that somebody pasted into a script goes on working."""

    assert ensure_credentials(settings) == ensure_credentials(settings)


def test_secrets_are_the_owners_alone(settings: Settings) -> None:
    """No other user of the machine reads them."""
    ensure_credentials(settings)

    files = (settings.keys_path, settings.hash_key_path, demo_key_file(settings.home))

    assert [0o600] * 3 == [path.stat().st_mode & 0o777 for path in files]


def test_keys_of_others_stay(settings: Settings) -> None:
    """A new demo key replaces the demo key and no other."""
    other = {"id": "shop", "sha256": "0" * 64, "scopes": ["fraud:score"], "expires_at": None}
    settings.keys_path.write_text(json.dumps({"keys": [other]}))

    ensure_credentials(settings)

    assert ["shop", "demo"] == [record["id"] for record in json.loads(settings.keys_path.read_text())["keys"]]


def test_lost_key_is_made_anew(settings: Settings) -> None:
    """Only its hash is stored, so a lost key cannot be printed again: there is a new one, and the old one ends."""
    before = ensure_credentials(settings)
    demo_key_file(settings.home).unlink()

    after = ensure_credentials(settings)

    assert before != after
    assert 1 == len(json.loads(settings.keys_path.read_text())["keys"])
