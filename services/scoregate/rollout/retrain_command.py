"""`scoregate retrain`: trigger → train → gates → challenger, and with `--shadow` beside the champion at once."""

from __future__ import annotations

import argparse
import sys

from scoregate.errors import ScoregateError
from scoregate.settings import Settings
from scoregate.training.imports import command as brought


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
    _, _, found = look_now(service, settings)
    due = [arguments.anyway] if arguments.anyway else found.due(triggers(service))
    if not due:
        print(f"{service}: no reason to train again.")
        return 0
    print(f"{service}: " + "; ".join(due), file=sys.stderr)
    bring = brought.bring(arguments, settings)
    done = retrain(service, settings, due, lambda what: print(what, file=sys.stderr, flush=True), bring)
    if arguments.shadow:
        _look_on(service, settings, done.version, done.why)
        print(
            f"{service}: {done.version} is the challenger, and looks on; `scoregate canary verdict {service}` judges it"
        )
    else:
        print(f"{service}: {done.version} is the challenger; `scoregate canary start {service}` tries it")
    return 0


def _look_on(service: str, settings: Settings, version: str, why: str) -> None:
    from scoregate.local import StackError
    from scoregate.monitor.retrain import WHO
    from scoregate.rollout.local import LocalRollout

    home = settings.model_copy(update={"home": settings.home.resolve()})
    try:
        LocalRollout(home, service, who=WHO, why=why).shadow(version)
    except (StackError, TimeoutError) as problem:
        raise ScoregateError(f"{service}: {version} is the challenger, but does not look on: {problem}") from None
