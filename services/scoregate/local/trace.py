"""`scoregate trace [ID]`: draws a recent trace of this stack, by its id or a decision's; the last one's without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from scoregate import catalog
from scoregate.ledger.archive import open_archive
from scoregate.local import StackError
from scoregate.local.state import run_dir
from scoregate.settings import Settings
from scoregate.telemetry import names
from scoregate.telemetry.recent import read
from scoregate.telemetry.spans import SpanRecord
from scoregate.values import frozen

WIDE: Final = 30
SAID: Final = (
    names.ATTR_OUTCOME,
    names.ATTR_SOURCE,
    names.ATTR_RUNG,
    names.ATTR_ARM,
    names.ATTR_STALE,
    names.ATTR_MISSING,
    "http.response.status_code",
    "error.type",
)


@frozen
class Drawn:
    """One line: how deep below the root, of which process."""

    depth: int
    service: str
    span: SpanRecord


def traces_dir(home: Path) -> Path:
    return run_dir(home) / "traces"


def trace(settings: Settings, console: Console, asked: str | None) -> int:
    kept = list(read(traces_dir(settings.home)))
    if not kept:
        raise StackError("No trace is kept yet: `make up`, ask for a decision, and look again in a second.")
    trace_id = _trace_id(settings, kept, asked)
    lines = list(waterfall(kept, trace_id))
    if not lines:
        raise StackError(
            f"Trace {trace_id} is not among the recent ones in {traces_dir(settings.home)}; a receiver may have it."
        )
    _show(console, trace_id, lines)
    return 0


def waterfall(kept: Sequence[tuple[str, SpanRecord]], trace_id: str) -> Iterator[Drawn]:
    """Yield the spans of a trace, each after its parent, and at the end what is linked to it."""
    own = sorted(((service, span) for service, span in kept if span.trace_id == trace_id), key=lambda o: o[1].start_ns)
    ids = {span.span_id for _, span in own}

    def below(parent: str | None, depth: int) -> Iterator[Drawn]:
        for service, span in own:
            if span.parent_id == parent or (parent is None and span.parent_id not in ids):
                yield Drawn(depth, service, span)
                yield from below(span.span_id, depth + 1)

    yield from below(None, 0)
    if own:
        for service, span in kept:
            if any(link.split("-")[1] == trace_id for link in span.links):
                yield Drawn(0, service, span)


def _trace_id(settings: Settings, kept: Sequence[tuple[str, SpanRecord]], asked: str | None) -> str:
    """Return the trace that is meant.

    Raises:
        StackError: it is no trace's id, and no decision's that is recorded.
    """
    decided = [(span.attributes[names.ATTR_DECISION_ID], span) for _, span in kept if _decision(span)]
    if asked is None:
        if not decided:
            raise StackError("No decision is among the recent traces.")
        return max((span for _, span in decided), key=lambda span: span.start_ns).trace_id
    if any(span.trace_id == asked for _, span in kept):
        return asked
    for decision, span in decided:
        if decision == asked:
            return span.trace_id
    if (found := _recorded(settings, asked)) is None:
        raise StackError(f"{asked} is neither a recent trace nor a recorded decision.")
    return found


def _recorded(settings: Settings, decision_id: str) -> str | None:
    """Return the trace id that the ledger has of a decision."""
    for service in catalog.services():
        with closing(open_archive(settings.ledger(service))) as archive:  # type: ignore[type-var]
            if found := archive.get(service, decision_id):
                return found.entry.trace_id
    return None


def _decision(span: SpanRecord) -> bool:
    return names.ATTR_DECISION_ID in span.attributes


def _show(console: Console, trace_id: str, lines: Sequence[Drawn]) -> None:
    decision = next((line.span.attributes[names.ATTR_DECISION_ID] for line in lines if _decision(line.span)), None)
    console.print(f"trace {trace_id}" + (f"  decision {decision}" if decision else ""), highlight=False)
    began = min(line.span.start_ns for line in lines)
    whole = max(max(line.span.end_ns for line in lines) - began, 1)
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True, min_width=max(len(_named(line)) for line in lines))
    table.add_column(no_wrap=True, min_width=10, justify="right")
    table.add_column(no_wrap=True, min_width=WIDE)
    table.add_column(no_wrap=True)
    for line in lines:
        span = line.span
        name = Text(_named(line), style="red" if span.error else "")
        at, length = (round((ns - began) / whole * WIDE) for ns in (span.start_ns, span.end_ns))
        bar = " " * min(at, WIDE - 1) + "█" * max(length - at, 1)
        table.add_row(name, f"{(span.end_ns - span.start_ns) / 1e6:.2f} ms", bar, Text(_said(span), style="dim"))
    console.print(table)
    if not any(line.service == "gateway" for line in lines):
        console.print("The gateway did not sample it; SCOREGATE_TRACE_RATIO=1 before `make up` samples all.")


def _named(line: Drawn) -> str:
    return "  " * line.depth + f"{line.service}: {line.span.name.removeprefix('scoregate.')}"


def _said(span: SpanRecord) -> str:
    said = {name.rpartition(".")[2]: span.attributes[name] for name in SAID if name in span.attributes}
    return " ".join(f"{name}={value}" for name, value in said.items() if value not in ("", 0))
