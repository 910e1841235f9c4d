"""The ledgers that audits, searches and forgetting are tested on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from postgres import postgres  # noqa: F401  a fixture
from unit.scoregate.ledger.kept import Kept, in_sqlite


@pytest.fixture(params=["sqlite", "postgres"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Kept:
    if request.param == "sqlite":
        return in_sqlite(tmp_path)
    url = request.getfixturevalue("postgres").new_url()

    def change(sql: str) -> None:
        async def run() -> None:
            connection = await asyncpg.connect(url)
            try:
                await connection.execute(sql)
            finally:
                await connection.close()

        asyncio.run(run())

    return Kept(url, change)
