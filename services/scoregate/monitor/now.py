"""What the ledger says of a service's model now."""

from __future__ import annotations

import time

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.models.artefact import Artefact, champion
from scoregate.monitor.history import History, reference_of
from scoregate.monitor.look import Look, Triggers, look
from scoregate.monitor.tally import Reference
from scoregate.settings import Settings


def look_now(service: str, settings: Settings) -> tuple[Artefact, Reference, Look]:
    """Read the decisions that came since the last look; return the model, its reference, and the two compared.

    Raises:
        ScoregateError: there is no such service, or no model of it.
    """
    if service not in catalog.services():
        raise ScoregateError(f"there is no service {service}; there are {', '.join(catalog.services())}")
    folder = settings.model_dir or champion(settings.models(service))
    artefact, reference = Artefact.load(folder), reference_of(folder)
    history = History(settings, artefact, reference)
    history.catch_up()
    return artefact, reference, look(reference, history.by_start, time.time())


def triggers(service: str) -> Triggers:
    return Triggers.of(catalog.ROOT / service)
