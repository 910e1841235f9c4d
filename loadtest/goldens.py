"""Requests of real entities: those that the models were accepted with."""

from __future__ import annotations

import json
from typing import Any

from scoregate.models.artefact import champion
from scoregate.settings import Settings


def requests_of(service: str, settings: Settings) -> list[dict[str, Any]]:
    """Return the golden requests of the service's model, without their times."""
    goldens = json.loads((champion(settings.models(service)) / "golden.json").read_text())
    return [{k: v for k, v in golden["request"].items() if k != "event_at"} for golden in goldens]
