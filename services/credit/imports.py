"""Lending data from elsewhere: the policy of a model whose features are somebody's own columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from scoregate.models.tabular import Column
from scoregate.training.imports.columns import slug

OPTION: Final = "applications"


def policy(columns: Sequence[Column], monotone: Mapping[str, int]) -> str:
    """Return the costs of `imports.toml` and a reason for each column, in the direction that may raise the risk."""
    parts = [Path(__file__).with_name("imports.toml").read_text()]
    for place, column in enumerate(columns, 1):
        sign = {1: "+", -1: "-"}.get(monotone.get(column.name, 0), "")
        numbers = [] if column.kind == "category" else [f"{sign}{column.feature}"]
        # Of a word only that it is said: "not a teacher" is nobody's reason.
        words = [f"+{feature}" for feature in column.features[len(numbers) :]]
        text = {"+": f"High value of {column.name}", "-": f"Low value of {column.name}"}.get(
            sign, f"The value of {column.name}"
        )
        parts.append(
            f"\n[reasons.c{place:03d}_{slug(column.name)[:40]}]\n"
            f"text = {_quoted(text)}\nfeatures = {_quoted(numbers + words)}\n"
        )
    return "".join(parts)


def _quoted(value: str | list[str]) -> str:
    """Write a text, or a list of them: TOML reads them as JSON does."""
    return json.dumps(value, ensure_ascii=False)
