"""What `up` shows while it works: one line per step with its seconds, live on a terminal, plain in a log."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.status import Status

QUIET_S = 5.0
"""Without a terminal, a long step says where it is this often."""


class Progress:
    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Status | None = None
        self._title = ""
        self._started_s = 0.0
        self._said_s = 0.0
        self._note = ""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        self._title, self._note = title, ""
        self._started_s = self._said_s = time.monotonic()
        if self._console.is_terminal:
            self._live = self._console.status(title)
            self._live.start()
        done = False
        try:
            yield
            done = True
        finally:
            if self._live is not None:
                self._live.stop()
                self._live = None
            tick = "[green]✓[/]" if done else "[red]✗[/]"
            ending = f": {escape(self._note)}" if self._note else ""
            self._say(f"{tick} {self._seconds()} {title}[dim]{ending}[/]")

    def note(self, text: str) -> None:
        """Say where the running step is; the last note stays in its line."""
        self._note = text.strip()
        if self._live is not None:
            self._live.update(f"{self._title} [dim]{self._seconds()} {escape(self._note)}[/]")
        elif time.monotonic() - self._said_s >= QUIET_S:
            self._said_s = time.monotonic()
            self._say(f"  {self._seconds()} {self._title}: {escape(self._note)}")

    def _seconds(self) -> str:
        return f"{time.monotonic() - self._started_s:6.1f} s"

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)
