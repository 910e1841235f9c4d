"""The trace of one request: what was done in it, when, and how it went. Whoever keeps traces makes spans of it later.

While a request is worked on it costs the same whether it is kept or not: a few marks in a list. Only when it is over is
it known whether it has to be kept, since one that was left out by sampling and ends in an error or without the model is
worth more than a hundred that went well.
"""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self

from scoregate.randomness import Randomness
from scoregate.telemetry import names
from scoregate.telemetry.context import Parent, parse

Observe = Callable[[str, float], None]
Value = str | int | float | bool

MOST_STAGES: Final = 250
"""Of one trace. A batch of a thousand rows has more, and the first of them say how the others went."""


class Stage:
    """One timed part of a request. Times are nanoseconds of a clock that only goes forward."""

    __slots__ = ("_timed_by", "attributes", "ended_ns", "error", "is_client", "name", "span_id", "started_ns", "under")

    def __init__(self, name: str, under: Stage | None, timed_by: Observe | None, *, is_client: bool) -> None:
        self.name, self.under, self._timed_by, self.is_client = name, under, timed_by, is_client
        self.attributes: Mapping[str, Value] = {}
        self.error: str | None = None
        self.span_id = ""
        self.started_ns = self.ended_ns = 0

    def __enter__(self) -> Self:
        self.started_ns = time.perf_counter_ns()
        return self

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Say what it found; once."""
        self.attributes = attributes

    def fail(self, error: str) -> None:
        """Say what went wrong where no exception leaves the stage."""
        self.error = error

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.ended_ns = time.perf_counter_ns()
        if self._timed_by is not None:
            self._timed_by(self.name, (self.ended_ns - self.started_ns) / 1e9)
        if kind is not None:
            self.error = kind.__name__


class Stages:
    """The same part of several requests, who take it together: each has all of its time."""

    __slots__ = ("_each",)

    def __init__(self, each: Iterable[Stage]) -> None:
        self._each = [*each]

    def __enter__(self) -> None:
        for stage in self._each:
            stage.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        for stage in self._each:
            stage.__exit__(kind, problem, trace)


class RequestTrace:
    """The trace of one request, which has its id whether it is kept or not."""

    __slots__ = (
        "_kept_by",
        "_observe",
        "_span_id",
        "attributes",
        "began_ns",
        "ended_ns",
        "error",
        "left_out",
        "name",
        "parent_id",
        "sampled",
        "stages",
        "status",
        "trace_id",
        "wall_ns",
    )

    def __init__(
        self,
        name: str,
        attributes: dict[str, Value],
        trace_id: str,
        parent_id: str,
        observe: Observe | None,
        kept_by: tuple[Keeper, ...] = (),
        *,
        sampled: bool = False,
    ) -> None:
        self.name, self.attributes = name, attributes
        self.trace_id, self.parent_id = trace_id, parent_id
        self._observe, self._kept_by, self.sampled = observe, kept_by, sampled
        self._span_id = ""
        self.stages: list[Stage] = []
        self.left_out = 0
        self.status, self.error = 0, ""
        self.wall_ns, self.began_ns, self.ended_ns = time.time_ns(), time.perf_counter_ns(), 0

    def stage(self, name: str, *, under: Stage | None = None, timed: bool = True, is_client: bool = False) -> Stage:
        """Begin a part of the request; of another part of it, where `under` says so."""
        stage = Stage(name, under, self._observe if timed else None, is_client=is_client)
        if not self._kept_by:
            return stage
        if len(self.stages) < MOST_STAGES:
            self.stages.append(stage)
        else:
            self.left_out += 1
        return stage

    @property
    def span_id(self) -> str:
        if not self._span_id:
            self._span_id = secrets.token_hex(8)
        return self._span_id

    @property
    def context(self) -> str:
        """What leads others here, as a traceparent; nothing where there will be nothing to lead to."""
        return str(Parent(self.trace_id, self.span_id, sampled=True)) if self.sampled and self._kept_by else ""

    @property
    def failed(self) -> bool:
        """Whether it ended in an error of ours, or was answered without the model."""
        return self.status >= 500 or self.attributes.get(names.ATTR_SOURCE) == "fallback"

    def set(self, attributes: Mapping[str, Value]) -> None:
        self.attributes.update(attributes)

    def end(self, status: int) -> None:
        self.ended_ns = time.perf_counter_ns()
        self.status = status
        for keeper in self._kept_by:
            keeper.take(self)


class Keeper(Protocol):
    """Keeps the traces that are worth it; `take` never fails and never waits."""

    def take(self, trace: RequestTrace) -> None: ...

    def close(self) -> None: ...


class Tracing:
    """Begins traces. By whom none is kept, and by default, they are there for their ids and times alone.

    `ratio` is the share of traces that are sampled where they begin; a parent's decision is followed where there is
    one, unless the parent is a stranger: whoever is outside must not raise the rate.
    """

    def __init__(
        self,
        observe: Observe | None = None,
        keepers: tuple[Keeper, ...] = (),
        *,
        ratio: float = 0.0,
        follows_parents: bool = True,
    ) -> None:
        self._observe, self._keepers, self._ratio, self._follows = observe, keepers, ratio, follows_parents
        self._drawn = Randomness()

    def begin(
        self, traceparent: str | None, name: str, attributes: dict[str, Value], *, is_strange: bool = False
    ) -> RequestTrace:
        """Begin a trace, or go on with the caller's; never fails and never waits."""
        parent = parse(traceparent)
        if parent is not None and self._follows and not is_strange:
            sampled = parent.sampled
        else:
            sampled = random.random() < self._ratio  # noqa: S311 - sampling, not a secret
        trace_id, parent_id = (parent.trace_id, parent.span_id) if parent else (self._drawn(16).hex(), "")
        return RequestTrace(name, attributes, trace_id, parent_id, self._observe, self._keepers, sampled=sampled)

    def close(self) -> None:
        """Let go of what was kept; takes seconds where a receiver does not answer."""
        for keeper in self._keepers:
            keeper.close()


UNTRACED: Final = Tracing()
