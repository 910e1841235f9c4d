"""`scoregate ledger` from end to end, on the state folder of a stack."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from scoregate.__main__ import main
from scoregate.hashing import KeyedHash
from scoregate.ledger.asked import moment
from unit.scoregate.ledger.kept import START_S, Kept, entry, in_sqlite

Printed = pytest.CaptureFixture[str]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path))
    monkeypatch.delenv("SCOREGATE_LEDGER_URL", raising=False)
    return tmp_path


@pytest.fixture
def stack(home: Path) -> Kept:
    """Three decisions of two persons."""
    hashed = KeyedHash.create(home / "hash.key")
    kept = in_sqlite(home / "ledger")
    kept.fill(
        entries=[entry(n, personal={"account_id": hashed.tagged("account_id", f"a{n % 2}")}) for n in (1, 2, 3)],
    )
    return kept


def told(printed: Printed, *arguments: str) -> tuple[int, str]:
    code = main(["ledger", *arguments])
    return code, printed.readouterr().out


def test_verify_and_checkpoint(stack: Kept, capsys: Printed) -> None:
    """Verify says what holds and what only a checkpoint would show, and ends with 1 where something is broken."""
    assert (0, True) == ((first := told(capsys, "verify"))[0], "no checkpoints" in first[1])
    assert (0, "fraud: checkpoint 1, 3 entries\n") == told(capsys, "checkpoint")
    assert 0 == told(capsys, "verify", "--since", "2020-01-01", "--service", "fraud")[0]
    stack.change("UPDATE entries SET arm = 'x' WHERE seq = 2")

    code, out = told(capsys, "verify", "--json")

    found = json.loads(out)["fraud"]
    assert (1, [2], 1) == (code, [one["seq"] for one in found["broken"]], found["checkpoints"]["count"])


def test_a_person_is_searched_for_and_forgotten(stack: Kept, capsys: Printed, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the raw value of a field, which never has to be on a command line; afterwards showing says what is gone."""
    whom = ("fraud", "--field", "account_id", "--value", "a1")
    code, out = told(capsys, "search", *whom, "--json", "--limit", "1")
    page = json.loads(out)
    assert (0, ["decision-3"]) == (code, [one["decision_id"] for one in page["decisions"]])
    rest = json.loads(told(capsys, "search", *whom, "--json", "--after", page["next"])[1])
    assert (["decision-1"], None) == ([one["decision_id"] for one in rest["decisions"]], rest["next"])
    monkeypatch.setattr("sys.stdin", io.StringIO("a1\n"))
    assert "2 decisions would be" in told(capsys, "forget", *whom[:-1], "-", "--dry-run")[1]

    assert "forgot 2 decisions" in told(capsys, "forget", *whom)[1]

    assert 0 == main(["ledger", "show", "decision-3"])
    out, err = capsys.readouterr()
    assert (None, None) == (json.loads(out)["answer"], json.loads(out)["vector"])
    assert "cannot be re-derived" in err
    assert 0 == told(capsys, "verify")[0]


def test_retention_is_the_services_own(stack: Kept, capsys: Printed) -> None:
    """The job forgets by what the contract says, unless it is told otherwise."""
    assert "3 decisions are older than 13 months" in told(capsys, "retain", "--dry-run")[1]
    assert "older than 2000 months" in told(capsys, "retain", "--dry-run", "--months", "2000")[1]
    assert "forgot 3 decisions" in told(capsys, "retain")[1]


def test_an_export_says_how_many(stack: Kept, home: Path, capsys: Printed) -> None:
    """The number of decisions and the file are said."""
    pytest.importorskip("pyarrow")
    file = str(home / "out.parquet")

    code, out = told(capsys, "export", "fraud", "--out", file, "--json", "--outcome", "approve")

    assert (0, {"file": file, "rows": 3}) == (code, json.loads(out))


@pytest.mark.parametrize("arguments", [["forget", "fraud"], ["forget", "fraud", "--field", "x"], ["search", "kyc"]])
def test_what_cannot_be_done_is_said(stack: Kept, arguments: list[str], capsys: Printed) -> None:
    """Nobody to forget, a field without a value, a service without a ledger: one sentence, and code 1."""
    assert 1 == main(["ledger", *arguments])
    assert capsys.readouterr().err.startswith("scoregate: ")


def test_a_key_is_rotated(stack: Kept, home: Path, capsys: Printed) -> None:
    """After a rotation new tags differ, and a person is found under the old ones."""
    assert 0 == told(capsys, "rotate-key")[0]

    found = json.loads(told(capsys, "search", "fraud", "--field", "account_id", "--value", "a0", "--json")[1])

    assert ["decision-2"] == [one["decision_id"] for one in found["decisions"]]
    assert 0o600 == next((home / "hash-keys").iterdir()).stat().st_mode & 0o777


def test_moments_are_utc(monkeypatch: pytest.MonkeyPatch) -> None:
    """A time without a zone is UTC, and a span counts back from now."""
    monkeypatch.setattr("time.time", lambda: START_S)

    assert (1_735_689_600.0, 1_735_693_200.0) == (moment("2025-01-01"), moment("2025-01-01T02:00+01:00"))
    assert START_S - 7 * 86_400 == moment("7d")
