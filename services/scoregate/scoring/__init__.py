"""The one path of a decision: features → vector → model → policy → reasons → ledger; of one request, or of many.

reading.py   what a request is decided by: its features, from the store or from itself
scorer.py    the path
together.py  one step of several requests at once
shadow.py    another model that looks on
goldens.py   the same path's pure part over what a model was accepted with
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from scoregate.contract import ScoreRequest
from scoregate.deadline import NEVER, Deadline
from scoregate.events import Event
from scoregate.features import FeatureRow
from scoregate.telemetry.tracing import RequestTrace
from scoregate.values import frozen

Clock = Callable[[], float]
"""Returns seconds since the epoch."""


class FeatureCode(Protocol):
    """A service's `features.py`: pure, the same in training and serving.

    It may have `supplied(request)` too: the views, by name, that a request brings in place of those that are stored;
    and `alert(request, row, hashed, at_s)`: the alert that the request belongs to.
    """

    FEATURES: tuple[str, ...]

    def entities(self, request: Any, hashed: Callable[[str, str], str]) -> dict[str, str]:
        """Return the value of every join key of the plan."""
        ...

    def vector(self, request: Any, row: FeatureRow, at_s: float) -> list[float]:
        """Return the features in the order of FEATURES; nan where a fact is missing."""
        ...


@frozen
class Asked:
    """One request to decide, as the door hands it in. `received_at` is seconds since the epoch.

    `event` is what the request is to others: it becomes durable with the decision.
    """

    request: ScoreRequest
    idempotency_key: str | None
    received_at: float
    trace: RequestTrace
    event: Event | None = None
    deadline: Deadline = NEVER

    @property
    def event_at_s(self) -> float:
        """When it happened, in seconds since the epoch."""
        return self.request.event_at.timestamp() if self.request.event_at else self.received_at


@frozen
class Decided:
    """A durable decision: the answer's bytes, and what the door counts. `replayed`: an earlier answer, given again."""

    decision_id: str
    answer: bytes
    replayed: bool
    outcome: str
    source: str
    rung: str
