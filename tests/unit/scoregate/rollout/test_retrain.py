"""`scoregate retrain`, as far as it goes without training."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoregate.command_line import run


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path))


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (["nobody"], "there is no service nobody"),
        (["fraud"], "champion"),
        (["fraud", "--anyway", "a rehearsal", "--shadow"], "champion"),
    ],
)
def test_what_cannot_be_trained_again_is_said(asked: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A first model becomes the champion at once, and that is for a person to want: there must be one to challenge."""
    assert 1 == run(["retrain", *asked])
    assert says in capsys.readouterr().err
