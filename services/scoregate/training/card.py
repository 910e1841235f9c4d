"""The model card of one artefact, written from its figures; what figures cannot tell is in the service's README."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scoregate.training.evaluate import TITLES, Measured


@dataclass(frozen=True, slots=True)
class Figures:
    """What a card says. `tested` holds the first and last day of the test period, its records and bad ones."""

    service: str
    feature_service: str
    objective: str
    metrics: Mapping[str, Measured]
    shares: Mapping[str, float]
    training: Mapping[str, Any]
    tested: Mapping[str, Any]
    rounds: int


def card(figures: Figures) -> str:
    """Write the card as Markdown."""
    metrics = "\n".join(
        f"| {title(n)} | {m.value:.4f} | {m.low:.4f} to {m.high:.4f} |" for n, m in figures.metrics.items()
    )
    outcomes = "\n".join(f"| {name} | {share:.2%} |" for name, share in figures.shares.items())
    trained = figures.training
    return f"""# {figures.service}: {figures.feature_service}

Made by `scoregate train {figures.service}`, scoregate {trained["code_version"]}, seed {trained["seed"]}.
Purpose, population, label and limits are in the README of the service.

- Objective: {figures.objective}, {figures.rounds} trees.
- Trained on {_records(trained)} known to be bad.
- Tested on {_records(figures.tested)} bad, none of them trained on.
- Data digest: {trained["data_digest"][:16]}.

| metric | value | 95 % interval |
|---|---|---|
{metrics}

| outcome | share of the test period |
|---|---|
{outcomes}
"""


def _records(figures: Mapping[str, Any]) -> str:
    return f"{figures['rows']:,} records from {figures['start']} to {figures['end']}, {figures['bad']:,} of them"


def title(metric: str) -> str:
    """Name a metric for people."""
    return TITLES.get(metric, metric.replace("_", " "))
