"""`scoregate retrain`: trigger → train → gates → challenger, and with `--shadow` beside the champion at once."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from scoregate.errors import ScoregateError
from scoregate.settings import Settings
from scoregate.training.imports import command as brought

if TYPE_CHECKING:
    from scoregate.rollout.local import LocalRollout


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    says = "train a challenger when drift says so; it never answers anybody by itself"
    retrain = verbs.add_parser("retrain", help=says, description=says)
    retrain.add_argument("service", help="a service's folder, such as fraud")
    retrain.add_argument("--anyway", metavar="WHY", help="train without a trigger, for this reason")
    retrain.add_argument("--shadow", action="store_true", help="let it score beside the champion of the stack here")
    brought.register(retrain)
    retrain.set_defaults(run=_retrain)


def _retrain(arguments: argparse.Namespace) -> int:
    from scoregate.monitor.now import look_now, triggers
    from scoregate.monitor.retrain import retrain

    settings, service = Settings(), arguments.service
    # What is asked wrongly is said now, and not on the day on which it is needed.
    bring = brought.bring(arguments, settings)
    _, _, found = look_now(service, settings)
    due = [arguments.anyway] if arguments.anyway else found.due(triggers(service))
    if not due:
        print(f"{service}: no reason to train again.")
        return 0
    why = "; ".join(due)
    print(f"{service}: {why}", file=sys.stderr)
    with _said():
        rollout = _free(service, settings, why) if arguments.shadow else None
    done = retrain(service, settings, due, lambda what: print(what, file=sys.stderr, flush=True), bring)
    if rollout is not None:
        with _said(f"{service}: {done.version} is the challenger, but does not look on: "):
            rollout.shadow(done.version)
        then = f"and looks on; `scoregate canary verdict {service}` judges it"
    else:
        then = f"and no more; `scoregate canary start {service}` tries it"
    print(f"{service}: {done.version} is the challenger, {then}")
    return 0


def _free(service: str, settings: Settings, why: str) -> LocalRollout:
    """Return what lets a model look on, once it is known that one can: to train takes minutes."""
    from scoregate.monitor.retrain import WHO
    from scoregate.rollout.local import LocalRollout

    home = settings.model_copy(update={"home": settings.home.resolve()})
    rollout = LocalRollout(home, service, who=WHO, why=why)
    rollout.check_free()
    return rollout


@contextmanager
def _said(before: str = "") -> Iterator[None]:
    """Let a problem of the stack end the command in a sentence."""
    from scoregate.local import StackError

    try:
        yield
    except (StackError, TimeoutError) as problem:
        raise ScoregateError(f"{before}{problem}") from None
