"""What a report shows, as training hands it over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoregate.policy import Policy
from scoregate.training.gates import Found
from scoregate.training.resample import Floats, Ints, Measured


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What a report shows. `score` and `label` are of the test records, `importance` is mean |log-odds| by feature.

    `metrics` and `details` are what `metrics.json` holds, `meanings` what a service says of its features.
    """

    service: str
    version: str
    found: Found
    metrics: Mapping[str, Measured]
    details: Mapping[str, Any]
    label: Ints
    score: Floats
    weight: Floats
    importance: Mapping[str, float]
    policy: Policy
    meanings: Mapping[str, str]
    lineage: Mapping[str, Any]
    drift: Mapping[str, Any] | None
    champion: bool
