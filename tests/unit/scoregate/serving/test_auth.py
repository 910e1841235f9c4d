"""Keys: hashed, scoped, expiring, reloaded; and refusals that tell nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoregate.errors import Forbidden, Unauthenticated
from scoregate.serving import auth
from scoregate.serving.auth import Keys, new_key


def keys(tmp_path: Path, *records: dict[str, object]) -> Keys:
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": records}))
    return Keys(path)


def test_a_stored_key_does_not_contain_the_key(tmp_path: Path) -> None:
    """Only the hash is at rest."""
    raw, record = new_key("pay", ["fraud:score"])

    assert raw.rsplit("_", 1)[1] not in json.dumps(record)


@pytest.mark.parametrize("scope", ["fraud:score", "fraud:*", "*:score", "*:*"])
def test_scopes_and_wildcards_open(tmp_path: Path, scope: str) -> None:
    """A star stands for every service or every verb."""
    raw, record = new_key("pay", [scope])

    assert "pay" == keys(tmp_path, record).authorise(f"Bearer {raw}", "fraud", "score").key_id


@pytest.mark.parametrize("scope", ["credit:score", "fraud:read", "fraud", ""])
def test_another_scope_is_forbidden(tmp_path: Path, scope: str) -> None:
    """A good key without the scope is 403, not 401."""
    raw, record = new_key("pay", [scope])

    with pytest.raises(Forbidden):
        keys(tmp_path, record).authorise(f"Bearer {raw}", "fraud", "score")


def test_absent_unknown_wrong_and_expired_read_the_same(tmp_path: Path) -> None:
    """Nothing tells which part of the key was wrong."""
    raw, record = new_key("pay", ["*:*"])
    old, expired = new_key("old", ["*:*"], "2020-01-01T00:00:00+00:00")
    store = keys(tmp_path, record, expired)
    said = set()
    for header in (None, "", "Bearer", raw, f"Basic {raw}", "Bearer sg_who_x", f"Bearer {raw}x", f"Bearer {old}"):
        with pytest.raises(Unauthenticated) as caught:
            store.authenticate(header)
        said.add(json.dumps(caught.value.as_problem()))

    assert 1 == len(said)


def test_a_rotated_file_is_read_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Old and new key overlap while both are in the file; a removed key stops working."""
    clock = [0.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: clock[0])
    first, record = new_key("one", ["*:*"])
    second, other = new_key("two", ["*:*"])
    store = keys(tmp_path, record)
    store.authenticate(f"Bearer {first}")

    (tmp_path / "keys.json").write_text(json.dumps({"keys": [other]}))
    clock[0] += 2

    assert "two" == store.authenticate(f"Bearer {second}").key_id
    with pytest.raises(Unauthenticated):
        store.authenticate(f"Bearer {first}")


def test_a_half_written_file_locks_nobody_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good file counts until the next good one."""
    clock = [0.0]
    monkeypatch.setattr(auth.time, "monotonic", lambda: clock[0])
    raw, record = new_key("one", ["*:*"])
    store = keys(tmp_path, record)
    store.authenticate(f"Bearer {raw}")

    (tmp_path / "keys.json").write_text('{"keys": [{"id"')
    clock[0] += 2

    assert "one" == store.authenticate(f"Bearer {raw}").key_id
