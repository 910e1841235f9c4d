"""The wire types that every service shares: one shape of question and one of answer for fraud, credit and kyc."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+\-]*$")]
"""An opaque id: never empty, never long, no spaces or control characters."""

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code.")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")]
AmountMinor = Annotated[int, Field(gt=0, le=1_000_000_000, description="Amount in minor units (cents), above 0.")]


EARLIEST_S = -62_135_596_800
"""The year 1: no calendar here goes back further."""

LATEST_S = 10**11
"""Seconds that are still taken for seconds: what is beyond them is milliseconds by mistake."""


def _moment(value: Any) -> Any:
    """Read seconds since the epoch; refuse texts that lax parsing would take for them."""
    if isinstance(value, int) and not isinstance(value, bool) and EARLIEST_S <= value < LATEST_S:
        return datetime.fromtimestamp(value, UTC)
    if isinstance(value, datetime) or (isinstance(value, str) and re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", value)):
        return value
    # The value stays out of the message: it may be personal.
    raise ValueError("must be seconds since the epoch, or RFC 3339 with a time zone")


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_moment, json_schema_input_type=Annotated[int, Field(ge=EARLIEST_S, lt=LATEST_S)] | AwareDatetime),
    Field(strict=False, description="Seconds since the epoch, or RFC 3339 with a time zone. Not in the future."),
]

STRICT = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True, cache_strings="keys")
"""What comes over the wire is what it says it is: no conversions, no unknown fields, no values in messages.

By default the parser keeps the last 16,384 short strings that it read: identifiers of people, in memory, for nothing.
"""


class ScoreRequest(BaseModel):
    """What every request to score has; a service's `Request` adds its own fields."""

    model_config = STRICT

    NATURAL_KEY: ClassVar[str]
    """Name of the field that identifies the thing decided on: two requests with the same value are one decision."""

    PERSONAL: ClassVar[frozenset[str]] = frozenset()
    """Names of the fields that identify a person: only their keyed hashes leave the process."""

    RETENTION_MONTHS: ClassVar[int] = 13
    """Months after which a decision's personal payload is forgotten."""

    event_at: AwareDatetime | None = Field(
        None,
        description="When it happened, RFC 3339 with a time zone; the time of receipt if absent. "
        "Not in the future, and not more than 24 hours ago.",
    )


class PostedEvent(BaseModel):
    """What every posted event has; the kinds below say what it does, and a service's events.py lists its own.

    An event that is not about facts names what it is about in the field that is the request's NATURAL_KEY.
    """

    model_config = STRICT

    type: str
    event_at: AwareDatetime | None = None


class CountEvent(PostedEvent):
    """Something that happened, scored here or not; a service joins this to its `Request`."""

    event_at: AwareDatetime = Field(description="When it happened, RFC 3339; at most 30 days ago.")


class ReverseEvent(PostedEvent):
    """What happened was taken back: it counts no longer."""

    event_at: AwareDatetime = Field(description="When that became known, RFC 3339; at most 30 days ago.")


class LabelEvent(PostedEvent):
    """It is known now whether it was bad; a later label replaces an earlier one."""

    event_at: AwareDatetime = Field(description="When that became known, RFC 3339; at most 30 days ago.")

    @property
    def is_bad(self) -> bool:
        raise NotImplementedError


class FactsEvent(PostedEvent):
    """A newer statement about one entity: all other fields are the features of VIEW."""

    VIEW: ClassVar[str]
    ENTITY: ClassVar[str]
    """Name of the field that says whom it is about."""

    event_at: AwareDatetime | None = Field(
        None, description="When it was stated, RFC 3339; at most 30 days ago. The time of receipt if absent."
    )

    def entity(self, hashed: Callable[[str, str], str]) -> tuple[str, str]:
        """Return the view's join key and this entity's value of it; a person's is its keyed hash."""
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """Return the features by name, times as seconds since the epoch."""
        said = {name: value for name, value in self if name not in ("type", "event_at", self.ENTITY)}
        return {name: int(v.timestamp()) if isinstance(v, datetime) else v for name, v in said.items()}


class EventReceipt(BaseModel):
    """An event is durable, and counted once however often it is sent."""

    event: str = Field(description="The event's id: the same whenever the same event is sent.")
    status: Literal["recorded", "known"] = Field(description="`known` when it had been recorded before.")


class Reason(BaseModel):
    """Why an outcome is not the mildest, in plain words; the code is stable."""

    code: str
    text: str


class ModelRef(BaseModel):
    name: str = Field(description="Feature service that the model was trained on, such as fraud_v1.")
    version: str = Field(description="First 12 digits of the artefact's digest.")
    policy: str = Field(description="First 12 digits of the policy's digest.")


class FeatureNotes(BaseModel):
    """What was wrong with the features; all empty when every one was fresh and our own."""

    stale: list[str] = Field(description="Views whose value is older than their largest age.")
    missing: list[str] = Field(description="Views or facts that were not there.")
    supplied: list[str] = Field(description="Views that the request brought itself, in place of what is stored.")
    outside: list[str] = Field(
        [],
        description="Values beyond all that the model was trained on, by the names of its features; "
        "not there where the model's policy does not look.",
    )


class AlertRef(BaseModel):
    """The alert that the request belongs to, together with those that it is linked to."""

    group: str | None = Field(description="The oldest group among the linked; null when links could not be read.")
    also: list[str] = Field(description="Other groups that turn out to be the same alert, oldest first.")
    linked_by: list[str] = Field(description="What links the request to earlier ones; empty when nothing does.")


class Answer(BaseModel):
    """A decision, in the same shape for every service."""

    decision_id: str
    service: str
    outcome: str = Field(description="One of the service's outcomes, mildest first in its policy.")
    score: float | None = Field(description="Calibrated probability of the bad event, in [0, 1]; null without a model.")
    reasons: list[Reason]
    measures: dict[str, float] = Field(description="What the outcome was weighed by, such as expected_loss_minor.")
    model: ModelRef
    features: FeatureNotes
    alert: AlertRef | None = Field(description="Null for a service that groups nothing.")
    source: Literal["model", "fallback"]
    confidence: Literal["full", "low"]
    arm: str
    decided_at: AwareDatetime


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: list[dict[str, str]] | None = Field(None, description="Every bad field: JSON pointer and what is wrong.")
