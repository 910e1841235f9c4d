"""`scoregate ledger migrate`: the schema of a ledger is brought up to date before anybody serves from it."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable

from scoregate.ledger.opening import open_ledger
from scoregate.settings import Settings


def register(action: Callable[..., argparse.ArgumentParser]) -> None:
    action("migrate", _migrate, "create the ledger, or bring its schema up to date; decides nothing", service=True)


def _migrate(arguments: argparse.Namespace) -> int:
    asyncio.run(_open_once(Settings().ledger(arguments.service), arguments.service))
    print(f"{arguments.service}: the schema of the ledger is up to date")
    return 0


async def _open_once(url: str, service: str) -> None:
    # Whoever opens a ledger migrates it, one at a time.
    await (await open_ledger(url, service)).close()
