"""`scoregate models`: nobody promotes without a name and a reason, and what is refused says why."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from scoregate.errors import ScoregateError
from scoregate.training import models_command


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    models_command.register(parser.add_subparsers())
    return parser.parse_args(["models", *words])


@pytest.mark.parametrize("verb", ["promote", "demote"])
@pytest.mark.parametrize("said", [(), ("--approver", "A. Person"), ("--reason", "better")])
def test_a_person_and_a_reason_are_asked_for(verb: str, said: tuple[str, ...]) -> None:
    """Both, before anything is read."""
    with pytest.raises(SystemExit):
        parsed(verb, "fraud", *said)


def test_a_service_that_is_not_there_is_named() -> None:
    """A misspelt service has no versions, and no silence either."""
    arguments = parsed("show", "froud")
    with pytest.raises(ScoregateError, match="no service froud; there are"):
        arguments.run(arguments)


def test_a_home_without_trainings_lists_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An empty list is an answer, and promoting from it is refused in a sentence."""
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path))
    arguments = parsed("list", "fraud", "--json")

    assert 0 == arguments.run(arguments)
    assert {"fraud": []} == json.loads(capsys.readouterr().out)
    promote = parsed("promote", "fraud", "--approver", "A. Person", "--reason", "better")
    with pytest.raises(ScoregateError, match="0 versions of fraud are called newest; there are none"):
        promote.run(promote)
