"""`scoregate down`: stops what `up` started, by pid and time of birth, and nothing else; the state stays."""

from __future__ import annotations

from rich.console import Console

from scoregate.local.supervisor import stop_supervisor
from scoregate.settings import Settings


def down(settings: Settings, console: Console) -> int:
    stopped = stop_supervisor(settings.home)
    text = f"Stopped {', '.join(stopped)}. The state stays in {settings.home}." if stopped else "Nothing was running."
    console.print(text, markup=False, highlight=False, soft_wrap=True)
    return 0
