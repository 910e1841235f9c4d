"""A process that starts before what it stands on becomes ready once that answers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from scoregate.errors import LedgerUnavailable
from scoregate.serving import door as of_door
from scoregate.serving.startup import Ready
from unit.scoregate.serving.test_door import SCORE_PATH, House, slug, toy


def test_a_ledger_that_is_away_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it answers the process says why it is not ready, and nobody needs to start it anew."""
    house = House(tmp_path, is_open=False)
    told: list[tuple[int, str]] = []

    async def made(*_: Any) -> Ready:
        if len(told) < 2:
            # In another thread: the door is asked in a loop of its own.
            asked = await asyncio.to_thread(house.post, SCORE_PATH, toy.EXAMPLE, "score")
            told.append(slug(asked))
            raise LedgerUnavailable("The ledger cannot be opened")
        return house.ready

    monkeypatch.setattr(of_door, "make_ready", made)
    monkeypatch.setattr(of_door, "RETRY_S", 0.0)
    asyncio.run(house.door._get_ready())

    assert [(503, "starting"), (503, "ledger-unavailable")] == told
    assert 200 == house.post(SCORE_PATH, toy.EXAMPLE, "score")[0]
