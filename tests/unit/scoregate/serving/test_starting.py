"""A process that starts before what it stands on becomes ready once that answers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from scoregate.errors import DependencyError
from scoregate.ledger.cipher import PLAIN
from scoregate.serving import startup
from scoregate.settings import Settings


def test_a_ledger_that_cannot_be_opened_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time it is said why, and once the ledger can be opened it is: nobody needs to start the process anew."""
    monkeypatch.setattr(startup, "RETRY_S", 0.0)
    in_the_way = tmp_path / "ledger"
    in_the_way.touch()
    said: list[DependencyError] = []

    def wait(problem: DependencyError) -> None:
        said.append(problem)
        if len(said) == 2:
            in_the_way.unlink()

    async def story() -> int:
        ledger = await startup.opened_ledger(Settings(home=tmp_path), "fraud", PLAIN, wait)
        try:
            return await ledger.count()
        finally:
            await ledger.close()

    assert 0 == asyncio.run(story())
    assert ["ledger-unavailable"] * 2 == [problem.slug for problem in said]
