"""The files by which `up` and the supervisor speak to each other."""

from __future__ import annotations

import shutil
from pathlib import Path

from scoregate.local.state import (
    Desired,
    Mark,
    ProcessSpec,
    Running,
    Stage,
    Status,
    read_desired,
    read_status,
    run_dir,
    write_atomically,
    write_desired,
    write_status,
)

SPEC = ProcessSpec("fraud-stable", ("python", "-m", "x"), "/log", Stage.SERVICE, 8101, {"A": "1", "B": None}, asked=2)


def test_what_should_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Equal after the file: the supervisor restarts what differs."""
    desired = Desired((SPEC,), 8199, 77)

    write_desired(tmp_path, desired)

    assert desired == read_desired(tmp_path)


def test_what_runs_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Marks keep their birth exactly: they decide who is ended."""
    running = Running("fraud", 1, Stage.SERVICE, "/log", None, Mark(5, "boot:17"), 3, (Mark(6, "boot:18"),))
    status = Status(Mark(4, "boot:16"), (running,), 9)

    write_status(tmp_path, status)

    assert status == read_status(tmp_path)


def test_a_copy_of_a_home_runs_nothing(tmp_path: Path) -> None:
    """Or `down` in the copy would end what runs for the original; one that was moved is still the same."""
    status = Status(Mark(4, "boot:16"))
    write_status(tmp_path / "home", status)

    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    (tmp_path / "home").rename(tmp_path / "moved")

    assert read_status(tmp_path / "copy") is None
    assert read_status(tmp_path / "moved") == status


def test_nothing_written_is_nothing_running(tmp_path: Path) -> None:
    """A home where nothing ever ran."""

    assert Desired() == read_desired(tmp_path)
    assert read_status(tmp_path) is None


def test_torn_file_reads_as_absent(tmp_path: Path) -> None:
    """A file that a full disk cut short must not keep `down` from working."""
    run_dir(tmp_path).mkdir()
    (run_dir(tmp_path) / "status.json").write_text('{"supervisor": {"pid"')

    assert read_status(tmp_path) is None


def test_atomic_write_leaves_nothing_beside(tmp_path: Path) -> None:
    """Readers of the folder see the file alone."""

    write_atomically(tmp_path / "a.yml", "1")
    write_atomically(tmp_path / "a.yml", "2")

    assert ["a.yml"] == [path.name for path in tmp_path.iterdir()]
    assert "2" == (tmp_path / "a.yml").read_text()
