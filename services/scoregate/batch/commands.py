"""`scoregate score`: from the command line to a batch, and what is said of it."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scoregate import catalog
from scoregate.settings import Settings

if TYPE_CHECKING:
    from scoregate.batch.run import Say

SAID_EVERY_S: Final = 5.0
"""How often progress is said where there is no terminal."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    parser = verbs.add_parser("score", help="score a file of requests, as the door would, into another file")
    parser.add_argument("service", choices=catalog.services())
    parser.add_argument("--in", dest="source", type=Path, required=True, help="requests: .parquet or .csv")
    parser.add_argument("--out", dest="target", type=Path, required=True, help="results: .parquet or .csv")
    parser.add_argument(
        "--as-of",
        choices=("now", "row"),
        default="now",
        help="features as of now, or as of each row's event_at (default %(default)s)",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run that was not finished")
    parser.add_argument("--workers", type=int, help="processes (default: one for each core)")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout, progress on stderr")
    parser.set_defaults(run=_score)


def _score(arguments: argparse.Namespace) -> int:
    from scoregate.batch.run import score

    started_s = time.monotonic()
    with _progress() as say:
        found = score(
            Settings(),
            arguments.service,
            arguments.source,
            arguments.target,
            as_of=arguments.as_of,
            resume=arguments.resume,
            workers=arguments.workers,
            say=say,
        )
    found["seconds"] = round(time.monotonic() - started_s, 1)
    print(json.dumps(found) if arguments.json else "\n".join(lines(found)))
    return 0


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Say in lines what became of the rows."""
    outcomes = ", ".join(f"{name} {count:,}" for name, count in found["outcomes"].items()) or "none decided"
    yield f"{found['service']} {found['model']}: {found['rows']:,} rows in {found['seconds']} s; {outcomes}"
    if found["columns_not_read"]:
        yield f"  columns that the contract does not have were not read: {', '.join(found['columns_not_read'])}"
    if found["problems"]:
        yield f"  {found['problems']:,} could not be decided: see the column 'problem'"
    if found["replayed"]:
        yield f"  {found['replayed']:,} had been decided before, and have that answer"
    if fallbacks := found["sources"].get("fallback"):
        yield f"  {fallbacks:,} were decided by rules, without the model"


@contextmanager
def _progress() -> Iterator[Say]:
    """Show rows as they are done: live on a terminal where rich is installed, else now and then a line."""
    try:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    except ImportError:
        yield _plainly()
        return
    if not sys.stderr.isatty():
        yield _plainly()
        return
    from rich.console import Console

    columns = (TextColumn("scoring"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task("", total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def _plainly() -> Say:
    said_s = time.monotonic()

    def say(done: int, total: int | None) -> None:
        nonlocal said_s
        if time.monotonic() - said_s >= SAID_EVERY_S:
            said_s = time.monotonic()
            print(f"{done:,} rows" if total is None else f"{done:,} of {total:,} rows", file=sys.stderr, flush=True)

    return say
