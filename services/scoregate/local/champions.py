"""Which model each service would serve, and how it did on held-out data, read from the artefacts' own files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoregate.models.tabular import FILE, Tabular
from scoregate.settings import Settings
from scoregate.values import frozen


@frozen
class Champion:
    """`metric` is the held-out headline as a person reads it, with its 95 % interval."""

    version: str
    metric: str


def champion_of(settings: Settings, service: str) -> Champion | None:
    """None when the service has none yet, or its folder is gone."""
    folder = settings.models(service)
    try:
        version = (folder / "champion").read_text().strip()
        found = json.loads((folder / version / "metrics.json").read_text())
    except (OSError, ValueError):
        return None
    return Champion(version, _headline(found.get("headline") or {}))


def shadow_of(settings: Settings, service: str) -> Path | None:
    """Return the artefact that looks on while the champion decides, if there is one."""
    try:
        return settings.models(service) / shadow_file(settings, service).read_text().strip()
    except FileNotFoundError:
        return None


def shadow_file(settings: Settings, service: str) -> Path:
    """It names a version, as `champion` does."""
    return settings.models(service) / "shadow"


def example_of(settings: Settings, service: str, usual: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a request that the champion answers: `usual`, unless it was trained on columns of somebody's own."""
    try:
        folder = settings.models(service) / (settings.models(service) / "champion").read_text().strip()
        columns = Tabular.from_json(json.loads((folder / FILE).read_text()))
        features = json.loads((folder / "signature.json").read_text())["features"]
    except (OSError, ValueError):
        return usual
    return columns.example({one["name"]: one["median"] for one in features})


def _headline(headline: dict[str, object]) -> str:
    name, value, low, high = (headline.get(key) for key in ("name", "value", "low", "high"))
    if not isinstance(value, float | int):
        return "-"
    interval = f" [{low:.3f}, {high:.3f}]" if isinstance(low, float | int) and isinstance(high, float | int) else ""
    return f"{name} {value:.3f}{interval}"
