"""Recent traces in a bounded file, one JSON line per trace, for who looks at one machine without a receiver.

    <folder>/<process>.jsonl, and <process>.jsonl.1 before it

All traces are taken, whatever sampling says of them; when they come too fast for that, what failed and the newest.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from scoregate.telemetry.behind import stay_behind
from scoregate.telemetry.spans import SpanRecord, of_trace
from scoregate.telemetry.tracing import RequestTrace, Value

KEPT: Final = 40
"""Traces that wait for their turn, of those that failed and of the others: the newest of each."""
AT_ONCE: Final = 2
EVERY_S: Final = 0.05
"""So many are written so often: they cost below 1 % of a core, and none of what else it does more than half a
millisecond."""
MOST_BYTES: Final = 4 << 20

_NAMES: Final = [field.name for field in fields(SpanRecord)]


class TraceFile:
    """One process's file. Several may write to the same: a line is written whole."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.jsonl"

    def write(self, service: str, traces: Sequence[Sequence[SpanRecord]]) -> None:
        """Append traces; a full disk must not fail anything."""
        lines = [json.dumps({"service": service, "spans": [_fields(span) for span in spans]}) for spans in traces]
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if self._path.exists() and self._path.stat().st_size > MOST_BYTES:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            with self._path.open("a") as file:
                file.write("".join(f"{line}\n" for line in lines))


class Recent:
    """Keeps them, see `Keeper`; written in a thread, now and then."""

    def __init__(self, service: str, file: TraceFile, store: Mapping[str, Value]) -> None:
        self._service, self._file, self._store = service, file, store
        self._newest: deque[RequestTrace] = deque(maxlen=KEPT)
        self._failed: deque[RequestTrace] = deque(maxlen=KEPT)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="recent", daemon=True)
        self._thread.start()

    def take(self, trace: RequestTrace) -> None:
        (self._failed if trace.failed else self._newest).append(trace)

    def close(self) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        stay_behind()
        while not self._closing.wait(EVERY_S):
            self._write(AT_ONCE)
        self._write(2 * KEPT)

    def _write(self, most: int) -> None:
        if some := [*islice(chain(_taken(self._failed), _taken(self._newest)), most)]:
            self._file.write(self._service, [list(of_trace(trace, self._store)) for trace in some])


def read(folder: Path) -> Iterator[tuple[str, SpanRecord]]:
    """Yield service and span of everything that is kept, the oldest of each process first."""
    for path in sorted(folder.glob("*.jsonl.1")) + sorted(folder.glob("*.jsonl")):
        for line in path.read_text().splitlines():
            # The last line may be half written yet.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                said = json.loads(line)
                for span in said["spans"]:
                    yield said["service"], SpanRecord(**{**span, "links": tuple(span["links"])})


def _fields(span: SpanRecord) -> dict[str, Any]:
    """Return its fields by name; `asdict` would copy what is in them, which took most of the time."""
    return {name: getattr(span, name) for name in _NAMES}


def _taken(some: deque[RequestTrace]) -> Iterator[RequestTrace]:
    with contextlib.suppress(IndexError):
        while True:
            yield some.popleft()
