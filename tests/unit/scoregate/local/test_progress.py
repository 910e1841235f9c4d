"""What `up` shows while it works."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from scoregate.local.progress import Progress


def test_step_ends_in_one_line_with_its_seconds_and_last_note() -> None:
    """A log holds one line per step, with what came of it."""
    progress = Progress(Console(file=(out := io.StringIO()), width=120))

    with progress.step("train fraud"):
        progress.note("epoch 1")
        progress.note("model 0123456789ab")

    [line] = out.getvalue().splitlines()
    assert line.startswith("✓")
    assert line.endswith(" s train fraud: model 0123456789ab")


def test_failed_step_is_not_ticked_off() -> None:
    """A step that fails says so."""
    progress = Progress(Console(file=(out := io.StringIO()), width=120))

    with pytest.raises(ValueError, match="no"), progress.step("features"):
        raise ValueError("no")

    assert out.getvalue().startswith("✗")


def test_note_is_shown_as_it_is() -> None:
    """Brackets in a note are text, not markup."""
    progress = Progress(Console(file=(out := io.StringIO()), width=120))

    with progress.step("train"):
        progress.note("ROC-AUC 0.9 [0.8, 1.0] [bold]")

    assert "[0.8, 1.0] [bold]" in out.getvalue()
