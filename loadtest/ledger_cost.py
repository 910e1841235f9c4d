"""What a durable ledger costs: throughput, times and processor time of one door with it and without, in one run.

    make up && python loadtest/ledger_cost.py --rounds 5 --json

Doors of fraud with no ledger, with SQLite and with PostgreSQL, as `costs.py` measures them. `off` records nothing and
brings no event. The exit code is 1 when an answer was no decision, or a fallback without need.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from costs import QUIET, Running, doors, main

from scoregate.events import Event
from scoregate.ledger import Appended, Entry
from scoregate.ledger.memory import MemoryLedger
from scoregate.serving import startup
from scoregate.settings import Settings

# `costs` lets the tests' parts be found.
from postgres import Server, programs  # isort: skip

OFF = "off"


class Off(MemoryLedger):
    """Says that it has recorded, and has not."""

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        return Appended(entry.decision_id, entry.answer, replayed=False)


async def _off(url: str, service: str, **_: Any) -> Off:
    return Off(service)


@contextmanager
def ledgers(stack: Settings) -> Iterator[dict[str, Running]]:
    """Start a door per ledger."""
    bin_ = programs()
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="scoregate-cost-")))
        urls = {OFF: f"sqlite:///{folder}/none.db", "sqlite": f"sqlite:///{folder}/ledger.db"}
        if bin_:
            folder.chmod(0o755)
            (folder / "postgres").mkdir()
            server = Server(bin_, folder / "postgres")
            ending.callback(server.stop)
            server.start()
            urls["postgres"] = server.url
        of = {name: stack.model_copy(update={**QUIET, "ledger_url": url}) for name, url in urls.items()}
        yield ending.enter_context(doors(__file__, of))


def _become(name: str) -> None:
    if name == OFF:
        startup.open_ledger = _off  # type: ignore[assignment]


if __name__ == "__main__":
    sys.exit(main(__doc__, ledgers, OFF, _become))
