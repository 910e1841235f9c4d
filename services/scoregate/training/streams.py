"""Event days and facts on disk: only what is missing is made, the running day is cut at now, old days are dropped.

A service offers what it has as plain functions in `simulate.py`, `data.py` or `keys.py`: `STREAM` with `day`, `facts`,
`keyed`, which adds the hashed columns that views key on to a day, and `keyed_facts`, which puts them in the place of
ids in a table of facts. Services with the same `STREAM` share its days.

What was streamed lies beside the days in `live/` (`live.py`) and is never deleted here: nobody could make it again.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scoregate import catalog
from scoregate.features.windows import KEPT
from scoregate.hashing import KeyedHash
from scoregate.settings import Settings
from scoregate.streaming.twin import LIVE
from scoregate.values import frozen

Say = Callable[[str], None]
Task = tuple[str, int, Callable[..., None], tuple[Any, ...]]
"""What it is part of, how many days it makes, and the call that makes them."""

DAY_US: Final = 86_400_000_000
FACTS: Final = "facts"
NOT_DATA: Final = frozenset(
    (
        "__init__.py",
        "commands.py",
        "contract.py",
        "events.py",
        "features.py",
        "imports.py",
        "linkage.py",
        "links.py",
        "service.py",
        "train.py",
    )
)
_HOOKS: Final = ("STREAM", "day", "facts", "keyed", "keyed_facts")
RECIPE: Final = "recipe.txt"
IMPORT: Final = "import "
"""How the recipe begins of days that somebody brought: nothing here makes or drops any of them."""

FEW_DAYS: Final = 6
_DAYS_PER_TASK: Final = 13


@frozen
class Period:
    """How much is kept: days of events, and the days among them whose requests can be joined with features."""

    history_days: int
    log_days: int


DEMO: Final = Period(history_days=KEPT["days"] + 66, log_days=66)
"""66 days of requests (45 to train on, a gap of 7 for late labels, 14 to test on), the first with whole windows."""


def hooks(service: str) -> dict[str, Any]:
    """Return what the service offers: any of STREAM, day, facts, keyed and keyed_facts."""
    found: dict[str, Any] = {}
    for name in ("simulate", "data", "keys"):
        if find_spec(f"{service}.{name}") is not None:
            part = catalog.part(service, name)
            found |= {hook: getattr(part, hook) for hook in _HOOKS if hasattr(part, hook)}
    return found


def ensure(
    settings: Settings, services: Sequence[str], until: dt.datetime, period: Period, *, workers: Workers, say: Say
) -> None:
    """Bring every stream and all facts up to `until` (aware)."""
    days = days_until(until, period.history_days)
    key_id = KeyedHash.load(settings.hash_key_path).key_id
    keep(settings.data / FACTS, f"{settings.seed} {key_id}")
    tasks: list[Task] = []
    written: set[str] = set()
    for service in services:
        offered = hooks(service)
        stream = offered.get("STREAM")
        if stream is not None and stream not in written and not is_imported(settings.data / stream):
            written.add(stream)
            keep(settings.data / stream, f"{settings.seed} {key_id if 'keyed' in offered else ''} {generator(service)}")
            missing = missing_days(settings.data / stream, days)
            tasks += _tasks(stream, missing, _write_days, settings, service, until)
        if "facts" in offered:
            missing = _missing_facts(settings, service, days[-period.log_days :])
            if missing:
                # All in one worker: what states the facts may take longer to import than to run.
                tasks.insert(0, (FACTS, len(missing), _write_facts, (settings, service, missing)))
    workers.run(tasks, say)


def generator(service: str) -> str:
    """Digest the code that makes a service's data: another generator's days do not belong beside the old ones."""
    digest = hashlib.sha256()
    for file in sorted((catalog.ROOT / service).glob("*.py")):
        if file.name not in NOT_DATA:
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def days_until(until: dt.datetime, count: int) -> list[dt.date]:
    last = until.astimezone(dt.UTC).date()
    return [last - dt.timedelta(days=i) for i in reversed(range(count))]


def day_us(day: dt.date) -> int:
    """Return the first microsecond of a UTC day."""
    return (day - dt.date(1970, 1, 1)).days * DAY_US


def is_imported(folder: Path) -> bool:
    """Whether somebody brought the days of a stream."""
    note = folder / RECIPE
    return note.exists() and note.read_text().startswith(IMPORT)


def keep(folder: Path, recipe: str) -> None:
    """Delete the Parquet files below a folder that another recipe made, but for live ones, and note this one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    note = folder / RECIPE
    if not note.exists() or note.read_text() != recipe:
        for file in folder.rglob("*.parquet"):
            if LIVE not in file.relative_to(folder).parts:
                file.unlink()
        note.touch(mode=0o600)
        note.write_text(recipe)


def missing_days(folder: Path, days: Sequence[dt.date], *, may_be_cut: bool = True) -> list[dt.date]:
    """Return the days to make, after dropping files of days that are not asked for any more."""
    wanted = {str(day) for day in days}
    have = {file.stem for file in folder.glob("????-??-??.parquet")}
    for day in have - wanted:
        (folder / f"{day}.parquet").unlink()
    # The newest day may have been cut at the time when it was made.
    newest = max(have & wanted, default="") if may_be_cut else "9"
    return [day for day in days if str(day) not in have or str(day) >= newest]


def write(path: Path, table: pa.Table) -> None:
    """Write a Parquet file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        fresh.touch(mode=0o600)
        with fresh.open("wb") as file:
            lists = any(pa.types.is_list(field.type) for field in table.schema)
            # Numbers in lists hardly repeat: a dictionary of them costs time and saves nothing.
            plain = [field.name for field in table.schema if pa.types.is_string(field.type)] if lists else True
            pq.write_table(table, file, compression="zstd", use_dictionary=plain)
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


class Workers:
    """Runs tasks on every core when there are many days to make; the processes stay for the next lot."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def run(self, tasks: Sequence[Task], say: Say) -> None:
        total: dict[str, int] = {}
        done: dict[str, int] = {}
        for what, days, _, _ in tasks:
            total[what] = total.get(what, 0) + days

        def finished(what: str, days: int) -> None:
            done[what] = done.get(what, 0) + days
            say(f"{what}: {done[what]} of {total[what]} days")

        if sum(total.values()) <= FEW_DAYS * len(total):
            for what, days, call, arguments in tasks:
                call(*arguments)
                finished(what, days)
            return
        if self._pool is None:
            # Spawned and not forked: this process may hold threads of Arrow, whose locks a fork would copy.
            self._pool = ProcessPoolExecutor(multiprocessing.cpu_count(), multiprocessing.get_context("spawn"))
        waiting = {self._pool.submit(call, *arguments): (what, days) for what, days, call, arguments in tasks}
        for future in as_completed(waiting):
            future.result()
            finished(*waiting[future])


def _tasks(what: str, days: Sequence[dt.date], call: Callable[..., None], *arguments: Any) -> Iterable[Task]:
    for i in range(0, len(days), _DAYS_PER_TASK):
        some = days[i : i + _DAYS_PER_TASK]
        yield what, len(some), call, (*arguments, some)


def _hashed(settings: Settings) -> Callable[[str, str], str]:
    """Return the keyed hash; the same accounts come every day, so it remembers."""
    return cache(KeyedHash.load(settings.hash_key_path))


def _write_days(settings: Settings, service: str, until: dt.datetime, days: Sequence[dt.date]) -> None:
    offered, hashed = hooks(service), _hashed(settings)
    for day in days:
        table = offered["day"](day, settings.seed)
        table = table.filter(pc.less_equal(table["event_at"], pa.scalar(until, table.schema.field("event_at").type)))
        if "keyed" in offered:
            table = offered["keyed"](table, hashed)
        write(settings.data / offered["STREAM"] / f"{day}.parquet", table)


def _missing_facts(settings: Settings, service: str, days: Sequence[dt.date]) -> list[dt.date]:
    """Look for the files of the views that the service stated last time; asking it would cost its imports."""
    note = settings.data / FACTS / f"{service}.txt"
    if not note.exists():
        return list(days)
    folders = [settings.data / FACTS / view for view in note.read_text().split()]
    return sorted({day for folder in folders for day in missing_days(folder, days, may_be_cut=False)})


def _write_facts(settings: Settings, service: str, days: Sequence[dt.date]) -> None:
    """Write what the feed stated as of the beginning of each day."""
    offered, hashed = hooks(service), _hashed(settings)
    for day in days:
        stated = offered["facts"](dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC), settings.seed)
        for view, table in stated.items():
            keyed = offered["keyed_facts"](table, hashed) if "keyed_facts" in offered else table
            write(settings.data / FACTS / view / f"{day}.parquet", keyed)
        (settings.data / FACTS / f"{service}.txt").write_text("\n".join(stated))
