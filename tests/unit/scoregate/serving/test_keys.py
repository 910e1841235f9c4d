"""Keys as the door reads them: by digest, until they expire, from a file that changes."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scoregate.serving import keys as keys_module
from scoregate.serving.keyfile import KeyFile, new_key
from scoregate.serving.keys import Keys
from scoregate.telemetry.logs import EventLog


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When the file is looked at again."""
    now = [0.0]
    monkeypatch.setattr(keys_module.time, "monotonic", lambda: now[0])
    return now


def test_a_key_is_found_with_what_its_record_says(tmp_path: Path) -> None:
    """Id, scopes and a rate of its own."""
    raw = KeyFile(tmp_path / "keys.json").create("pay", ["fraud:score"], rate_per_s=5)

    found = Keys(tmp_path / "keys.json").find(raw)

    assert found is not None
    assert ("pay", {"fraud:score"}, 5) == (found.key_id, found.scopes, found.rate_per_s)


def test_neighbours_of_a_key_are_none(tmp_path: Path) -> None:
    """Nothing before, behind or instead of a single character."""
    raw = KeyFile(tmp_path / "keys.json").create("pay", ["*:*"])
    keys = Keys(tmp_path / "keys.json")

    for near in ("", raw[:-1], raw + "x", raw.upper(), raw.replace("sg_pay", "sg_pa"), "sg_pay_", "ä" + raw):
        assert keys.find(near) is None


def test_an_expired_key_is_none(tmp_path: Path) -> None:
    """A time without a zone is UTC, whatever the machine's zone."""
    path = tmp_path / "keys.json"
    past, future = (datetime.now(UTC) + timedelta(minutes=m) for m in (-1, 1))
    raws = [KeyFile(path).create("old", ["*:*"], expires_at=past), KeyFile(path).create("new", ["*:*"])]
    records = json.loads(path.read_text())["keys"]
    records[1]["expires_at"] = future.replace(tzinfo=None).isoformat()
    path.write_text(json.dumps({"keys": records}))

    assert [False, True] == [Keys(path).find(raw) is not None for raw in raws]


def test_both_keys_of_a_rotation_are_good_until_the_overlap_ends(tmp_path: Path, clock: list[float]) -> None:
    """No restart, no moment without a good key, and none too many afterwards."""
    file = KeyFile(tmp_path / "keys.json")
    keys = Keys(tmp_path / "keys.json")
    first = file.create("pay", ["*:*"])
    assert keys.find(first)

    second = file.rotate("pay", timedelta(hours=1))
    clock[0] += 2
    overlapping = [keys.find(raw) is not None for raw in (first, second)]
    third = file.rotate("pay", timedelta(0))
    clock[0] += 2
    after = [keys.find(raw) is not None for raw in (first, second, third)]

    assert ([True, True], [False, False, True]) == (overlapping, after)


def test_a_revoked_key_ends(tmp_path: Path, clock: list[float]) -> None:
    """Within a second of the file's change."""
    file = KeyFile(tmp_path / "keys.json")
    raw, keys = file.create("pay", ["*:*"]), Keys(tmp_path / "keys.json")
    assert keys.find(raw)

    file.revoke("pay")
    clock[0] += 2

    assert keys.find(raw) is None


@pytest.mark.parametrize("broken", ['{"keys": [{"id"', "[]", '{"keys": [7]}', '{"keys": [{"id": "x"}]}', "null", ""])
def test_a_broken_file_locks_nobody_out(tmp_path: Path, clock: list[float], broken: str) -> None:
    """The last good one counts until the next good one, and the log says so."""
    path, log = tmp_path / "keys.json", io.StringIO()
    raw = KeyFile(path).create("one", ["*:*"])
    keys = Keys(path, EventLog("toy", "stable", log))
    keys.find(raw)

    path.write_text(broken)
    clock[0] += 2

    assert keys.find(raw)
    assert "keys.unreadable" in log.getvalue()
    assert raw not in log.getvalue()


def test_a_file_that_comes_late_is_read(tmp_path: Path, clock: list[float]) -> None:
    """No keys at first lets nobody in, and harms nothing later."""
    raw, record = new_key("late", ["*:*"])
    keys = Keys(tmp_path / "keys.json")
    before = keys.find(raw)
    (tmp_path / "keys.json").write_text(json.dumps({"keys": [record]}))
    clock[0] += 2

    assert before is None
    assert keys.find(raw)
