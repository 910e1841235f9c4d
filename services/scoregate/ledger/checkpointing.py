"""Takes checkpoints of a ledger for as long as a process serves; of several processes one does it each time."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path

from scoregate.errors import ScoregateError
from scoregate.ledger.checkpoint_files import take

log = logging.getLogger(__name__)


class Checkpointer:
    """Looks every `every_s` whether a checkpoint is due, and takes a last one at `close`. With 0 it does nothing.

    What fails is logged and tried again: a decision never waits for a checkpoint.
    """

    def __init__(self, url: str, service: str, folder: Path, key_path: Path, every_s: float) -> None:
        self._url, self._service, self._folder, self._key_path = url, service, folder, key_path
        self._every_s = every_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._every_s > 0:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"checkpoint-{self._service}")

    async def close(self) -> None:
        """Take a last checkpoint; close the ledger first, so that it has everything."""
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        await self._take(0.0)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._every_s)
            # A little less, or one process that looks just too early would leave it to the next time.
            await self._take(self._every_s / 2)

    async def _take(self, every_s: float) -> None:
        try:
            await asyncio.to_thread(take, self._url, self._service, self._folder, self._key_path, every_s=every_s)
        except ScoregateError as error:
            log.warning("ledger.checkpoint.failed", extra={"service": self._service, "error": type(error).__name__})
