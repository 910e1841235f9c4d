"""Train → gates → challenger. What it makes may look on or be a canary, and nothing more: people go further."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from scoregate.errors import ScoregateError
from scoregate.models.artefact import champion
from scoregate.settings import Settings
from scoregate.training import run
from scoregate.training.gates import first_failed
from scoregate.training.imports import Material
from scoregate.training.registry import Registry, refusal
from scoregate.values import frozen

WHO: Final = "scoregate retrain"


@frozen
class Retrained:
    """A version that is the challenger now, and why it was made."""

    version: str
    why: str


def retrain(
    service: str,
    settings: Settings,
    due: Sequence[str],
    say: Callable[[str], None],
    bring: Callable[[run.Say], Material] | None = None,
) -> Retrained:
    """Train a challenger for the reasons of `due`, from what `bring` makes of somebody's own data if there is that.

    Raises:
        ScoregateError: there is no champion to challenge, a gate refused what was trained, or it is the champion again.
    """
    # A first model becomes the champion at once, and that is for a person to want.
    served = champion(settings.models(service)).name
    trained = run.train(service, settings, say, bring=bring)
    if (failed := first_failed(trained.gates)) is not None:
        raise ScoregateError(refusal(service, trained.version, failed))
    if trained.version == served:
        raise ScoregateError(
            f"{service}: what was trained is the champion {served} again: there is no newer data; "
            f"`--decisions` trains on what was decided, once labels have come"
        )
    why = "; ".join(due)
    Registry(settings).promote(service, trained.version, WHO, why)
    return Retrained(trained.version, why)
