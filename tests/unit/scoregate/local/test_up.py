"""What makes `up` start a service anew."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from scoregate.local.plan import ports
from scoregate.local.state import Desired
from scoregate.local.up import code_digest, stable_spec
from scoregate.settings import Settings


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
