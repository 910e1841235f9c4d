"""The file of keys as its owner changes it, by hand of the `scoregate keys` command."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from scoregate.__main__ import main
from scoregate.errors import KeyRefused
from scoregate.serving.keyfile import KeyFile, expiry, new_key
from scoregate.serving.keys import Keys


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_a_stored_key_does_not_contain_the_key() -> None:
    """Only the hash is at rest."""
    raw, record = new_key("pay", ["fraud:score"])

    assert raw.rsplit("_", 1)[1] not in json.dumps(record)


@pytest.mark.parametrize("key_id", ["", "Pay", "a b", "a_b", "x" * 41, "../x", "ä"])
def test_an_id_is_plain(key_id: str) -> None:
    """It is part of the key, so nothing in it may need quoting."""
    with pytest.raises(KeyRefused):
        new_key(key_id, ["fraud:score"])


@pytest.mark.parametrize("scope", ["", "fraud", "fraud:fly", ":score", "fraud:", "*", "fraud:score:x", "Fraud:score"])
def test_a_scope_that_would_open_nothing_is_refused(scope: str) -> None:
    """A misspelt scope is said at once, not by 403 in production."""
    with pytest.raises(KeyRefused):
        new_key("pay", ["fraud:score", scope])


def test_an_id_is_given_once(path: Path) -> None:
    """A second key under an id is a rotation, and says so."""
    KeyFile(path).create("pay", ["*:*"])

    with pytest.raises(KeyRefused):
        KeyFile(path).create("pay", ["*:*"])


def test_a_rotation_keeps_scopes_rate_and_lifetime(path: Path) -> None:
    """Only the secret changes, and the end moves by as much as the first had been given."""
    ends = datetime.now(UTC) + timedelta(days=90)
    KeyFile(path).create("pay", ["fraud:score"], expires_at=ends, rate_per_s=7)
    KeyFile(path).rotate("pay", timedelta(hours=1))
    first, second = KeyFile(path).records()

    assert ["fraud:score"] == second["scopes"]
    assert 7 == second["rate_per_s"]
    assert abs(expiry(second) - ends) < timedelta(minutes=1)  # type: ignore[operator]
    assert expiry(first) < datetime.now(UTC) + timedelta(hours=2)  # type: ignore[operator]


def test_an_overlap_prolongs_no_key(path: Path) -> None:
    """A key that ends sooner than the overlap ends when it would have."""
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=5)
    KeyFile(path).create("pay", ["*:*"], expires_at=ends)
    KeyFile(path).rotate("pay", timedelta(days=9))

    assert ends == expiry(KeyFile(path).records()[0])


def test_two_writers_lose_nothing(path: Path) -> None:
    """Each change reads what the one before wrote."""
    threads = [Thread(target=KeyFile(path).create, args=(f"k{number}", ["*:*"])) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {f"k{number}" for number in range(20)} == {record["id"] for record in KeyFile(path).records()}
    assert 0o600 == path.stat().st_mode & 0o777


def test_the_command_makes_rotates_lists_and_revokes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What it prints opens the door; the list holds neither key nor hash."""

    def keys(*arguments: str) -> str:
        assert 0 == main(["keys", *arguments, "--file", str(path)])
        return capsys.readouterr().out.strip()

    first = keys(
        "create", "pay", "--scope", "fraud:score", "--scope", "kyc:read", "--expires-in", "90d", "--rate", "50"
    )
    second = keys("rotate", "pay", "--overlap", "12h")
    both = Keys(path)
    listed, said = keys("list"), json.loads(keys("list", "--json"))

    assert [both.find(first), both.find(second)] == [both.find(first)] * 2 != [None, None]
    assert 3 == len(listed.splitlines())
    assert all(raw not in listed and raw not in json.dumps(said) for raw in (first, second))
    assert all("sha256" not in record for record in said)
    assert "revoked 2 keys of pay" == keys("revoke", "pay")
    assert [] == json.loads(keys("list", "--json"))


def test_the_command_refuses_in_a_sentence(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What cannot be done ends with exit code 1 and what to do."""
    assert 1 == main(["keys", "revoke", "nobody", "--file", str(path)])
    assert "no key nobody" in capsys.readouterr().err
