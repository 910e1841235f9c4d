"""Settings of traces, a part of `Settings`. OpenTelemetry's own variables win over ours where both say something."""

from __future__ import annotations

import os
from typing import Final, Literal

from pydantic import AliasChoices, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from scoregate.values import frozen

Protocol = Literal["http/protobuf", "grpc"]
Sampler = Literal[
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
]


@frozen
class Queue:
    """How many traces may wait for export, how many spans go out at once, and how often."""

    most: int = 2_048
    at_once: int = 512
    delay_s: float = 0.5


class TracingSettings(BaseSettings):
    """Which traces are kept, and where they go."""

    model_config = SettingsConfigDict(
        env_prefix="SCOREGATE_", frozen=True, extra="ignore", protected_namespaces=(), populate_by_name=True
    )

    trace_sampling: Literal["head", "tail"] = Field(
        "head",
        description="`head`: a share of traces, chosen at the gateway, and of all others those that fail; "
        "`tail`: all leave, and the Collector decides.",
    )
    trace_ratio: float = Field(
        0.01,
        ge=0,
        le=1,
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER_ARG", "SCOREGATE_TRACE_RATIO"),
        description="With `head`, the share of traces that are sampled where they begin.",
    )
    trace_sampler: Sampler = Field(
        "parentbased_traceidratio",
        validation_alias=AliasChoices("OTEL_TRACES_SAMPLER", "SCOREGATE_TRACE_SAMPLER"),
        description="As OpenTelemetry names samplers; one that is not parent-based does not follow the gateway.",
    )
    otlp_endpoint: str | None = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT", "SCOREGATE_OTLP_ENDPOINT"),
        description="Base URL of the OTLP receiver that spans go to; none are exported without it.",
    )
    otlp_traces_url: str | None = Field(
        None,
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "SCOREGATE_OTLP_TRACES_URL"),
        description="The same as a whole URL, as it is.",
    )
    otlp_protocol: Protocol = Field(
        "http/protobuf",
        validation_alias=AliasChoices(
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL", "SCOREGATE_OTLP_PROTOCOL"
        ),
        description="`http/protobuf`, or `grpc` where the extra `grpc` is installed.",
    )
    recent_traces: bool = Field(
        False, description="Whether recent traces are written to <home>/run/traces, for `scoregate trace`."
    )
    otel_disabled: bool = Field(
        False,
        validation_alias=AliasChoices("OTEL_SDK_DISABLED", "SCOREGATE_OTEL_DISABLED"),
        description="Whether no span is to leave, wherever the receiver is.",
    )

    @property
    def sampled_share(self) -> float:
        """Share of traces that are sampled where they begin."""
        if self.trace_sampler.endswith("always_off"):
            return 0.0
        return 1.0 if self.trace_sampling == "tail" or self.trace_sampler.endswith("always_on") else self.trace_ratio

    @property
    def follows_parents(self) -> bool:
        return self.trace_sampler.startswith("parentbased")

    @property
    def otlp_url(self) -> str | None:
        """Whole URL that traces go to; None when none leave."""
        if self.otel_disabled or not (self.otlp_traces_url or self.otlp_endpoint):
            return None
        path = "" if self.otlp_protocol == "grpc" else "/v1/traces"
        return self.otlp_traces_url or str(self.otlp_endpoint).rstrip("/") + path

    def lend(self) -> None:
        """Say to OpenTelemetry's exporters what its own variables leave open."""
        # Longer than its receiver needs; the default of 10 s would hold up a queue that somebody waits for.
        ours = {"OTEL_EXPORTER_OTLP_TIMEOUT": "2", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": self.otlp_url or ""}
        for name, value in ours.items():
            os.environ.setdefault(name, value)


def queue() -> Queue:
    """Read `OTEL_BSP_*`, for what exports in its own way."""
    return Queue(
        most=_number("MAX_QUEUE_SIZE", _DEFAULT.most),
        at_once=_number("MAX_EXPORT_BATCH_SIZE", _DEFAULT.at_once),
        delay_s=_number("SCHEDULE_DELAY", round(_DEFAULT.delay_s * 1_000)) / 1_000,
    )


_DEFAULT: Final = Queue()


def _number(name: str, default: int) -> int:
    said = os.environ.get(f"OTEL_BSP_{name}", "")
    return int(said) if said.isdigit() and int(said) else default
