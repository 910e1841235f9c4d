"""What makes `up` start a service anew, and what it says when there is nothing to start."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scoregate.local.plan import ports
from scoregate.local.state import Desired
from scoregate.local.up import code_digest, stable_spec, untrained
from scoregate.settings import Settings
from scoregate.training.gates import Gate
from scoregate.training.registry import refusal


def revision(home: Path) -> str:
    settings = Settings(home=home, registry=None)
    return stable_spec(settings, "fraud", ports(settings, ["fraud"]), Desired()).revision


def promote(home: Path) -> None:
    folder = home / "models" / "fraud" / "fedcba987654"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps({}))
    (folder.parent / "champion").write_text("fedcba987654")


def apply(home: Path) -> None:
    (home / "registry.db").write_bytes(b"another registry")


def test_nothing_changed_starts_nothing_anew(tmp_path: Path) -> None:
    """A warm `up` leaves running services alone."""

    assert revision(tmp_path) == revision(tmp_path)


@pytest.mark.parametrize("change", [promote, apply])
def test_what_a_service_loads_at_its_start_starts_it_anew(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Another champion, or another registry to agree with."""
    before = revision(tmp_path)

    change(tmp_path)

    assert before != revision(tmp_path)


def test_asking_for_a_restart_is_not_undone_by_the_next_up(tmp_path: Path) -> None:
    """`restart` counts up, and `up` keeps the count: the specification stays the same."""
    settings = Settings(home=tmp_path)
    planned = ports(settings, ["fraud"])
    asked = stable_spec(settings, "fraud", planned, Desired(), again=1)

    assert asked == stable_spec(settings, "fraud", planned, Desired((asked,)))


def test_edited_code_has_another_digest(tmp_path: Path) -> None:
    """`up` after an edit or a pull brings the new code into service."""
    file = tmp_path / "service.py"
    file.write_text("a = 1")
    before = code_digest(tmp_path)

    file.write_text("a = 2")
    os.utime(file, (1, 1))

    assert before != code_digest(tmp_path)


def test_a_refused_model_is_told_with_its_gate_and_figure(tmp_path: Path) -> None:
    """Training ended well, so no exit code is named; which gate, what it found, and what to do are."""
    log = tmp_path / "train-fraud.log"
    gate = Gate.judged("calibration", False, 0.09, 0.05, "the expected calibration error is 0.09, bound 0.05")
    log.write_text(f"fraud: evaluated\n{refusal('fraud', '0123456789ab', gate)}; the evidence is in r.html\n")
    told = untrained("fraud", 0, log)

    assert told.startswith("fraud 0123456789ab is not promoted: the calibration gate failed: the expected")
    assert [True, True, False] == [word in told for word in ("bound 0.05", "services/fraud/gates.toml", "exit code")]


def test_training_that_broke_is_told_with_its_last_words(tmp_path: Path) -> None:
    """The exit code, and the end of the log."""
    log = tmp_path / "train-fraud.log"
    log.write_text("MemoryError\n")

    assert f"fraud could not be trained (exit code 1); the end of {log}:\n  MemoryError" == untrained("fraud", 1, log)
