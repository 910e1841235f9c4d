"""`scoregate chaos SERVICE PART=HOW …`: breaks parts of a running service for a while, so that people can rehearse."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console

from scoregate import catalog
from scoregate.local import StackError
from scoregate.serving.chaos import FAULTS, write
from scoregate.settings import Settings


def chaos(settings: Settings, console: Console, service: str, asked: Sequence[str], seconds: float) -> int:
    if settings.env != "development" or not settings.chaos:
        raise StackError(
            "Faults are rehearsed in development alone: "
            "set SCOREGATE_ENV=development and SCOREGATE_CHAOS=true, then `make up`."
        )
    if service not in (services := catalog.services()):
        raise StackError(f"There is no service {service}; there are {', '.join(services)}.")
    faults = dict(map(_fault, asked))
    write(settings.chaos_file(service), faults, time.time() + seconds)
    said = ", ".join(f"{part} {how}" for part, how in faults.items())
    text = f"{service}: {said} for {seconds:g} s." if faults else f"{service}: nothing is broken any more."
    console.print(text, markup=False, highlight=False)
    return 0


def _fault(asked: str) -> tuple[str, str]:
    part, _, how = asked.partition("=")
    if how not in FAULTS.get(part, ()):
        known = ", ".join(f"{part}={how}" for part, hows in FAULTS.items() for how in hows)
        raise StackError(f"{asked} is no fault; there are {known}.")
    return part, how
