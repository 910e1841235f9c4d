"""`scoregate ledger migrate`: a store is ready before anybody decides."""

from __future__ import annotations

import pytest

from scoregate.__main__ import main
from scoregate.ledger.archive import open_archive
from unit.scoregate.ledger.kept import Kept


def test_an_empty_store_becomes_a_ledger(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody has opened it before; done twice it changes nothing, and it holds no writer and no decision."""
    monkeypatch.setenv("SCOREGATE_LEDGER_URL", kept.url)

    assert [0, 0] == [main(["ledger", "migrate", "fraud"]) for _ in range(2)]

    archive = open_archive(kept.url)
    try:
        assert [] == archive.services()
    finally:
        archive.close()
