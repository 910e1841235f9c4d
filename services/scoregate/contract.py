"""The wire types that every service shares: one shape of question and one of answer for fraud, credit and kyc."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Identifier = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@+\-]*$")]
"""An opaque id: never empty, never long, no spaces or control characters."""

Country = Annotated[str, Field(pattern=r"^[A-Z]{2}$", description="ISO 3166-1 alpha-2 code.")]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217 code.")]
AmountMinor = Annotated[int, Field(gt=0, le=1_000_000_000, description="Amount in minor units (cents), above 0.")]


class ScoreRequest(BaseModel):
    """What every request to score has; a service's `Request` adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    NATURAL_KEY: ClassVar[str]
    """Name of the field that identifies the thing decided on: two requests with the same value are one decision."""

    PERSONAL: ClassVar[frozenset[str]] = frozenset()
    """Names of the fields that identify a person: only their keyed hashes leave the process."""

    event_at: AwareDatetime | None = Field(
        None,
        description="When it happened, RFC 3339 with a time zone; the time of receipt if absent. "
        "Not in the future, and not more than 24 hours ago.",
    )


class Reason(BaseModel):
    """Why an outcome is not the mildest, in plain words; the code is stable."""

    code: str
    text: str


class ModelRef(BaseModel):
    name: str = Field(description="Feature service that the model was trained on, such as fraud_v1.")
    version: str = Field(description="First 12 digits of the artefact's digest.")
    policy: str = Field(description="First 12 digits of the policy's digest.")


class FeatureNotes(BaseModel):
    """What was wrong with the features; both empty when every one was fresh."""

    stale: list[str] = Field(description="Views whose value is older than their largest age.")
    missing: list[str] = Field(description="Views or facts that were not there.")


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
