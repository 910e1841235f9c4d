"""The verbs on the local stack."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING

from scoregate.errors import ScoregateError
from scoregate.rollout import showing
from scoregate.settings import Settings

if TYPE_CHECKING:
    # Everything else is imported by the verb that needs it: whoever goes back waits for what is left to do.
    from scoregate.rollout.local import LocalRollout
    from scoregate.rollout.verdict import Verdict

WEIGHT_PERCENT = 10
"""A canary's first share, unless it is said otherwise."""


def run(verb: str, arguments: argparse.Namespace) -> int:
    from scoregate.local import StackError

    settings = Settings()
    try:
        return _VERBS[verb](settings.model_copy(update={"home": settings.home.resolve()}), arguments)
    except (StackError, TimeoutError) as problem:
        raise ScoregateError(str(problem)) from None


def _start(settings: Settings, arguments: argparse.Namespace) -> int:
    rollout = _rollout(settings, arguments)
    current = rollout.canary
    if current is None:
        model = _eligible(settings, arguments.service, arguments.model)
        taken = rollout.shadow(model) if arguments.shadow else rollout.start(model, arguments.weight or WEIGHT_PERCENT)
    elif arguments.model and not current.model.startswith(arguments.model):
        raise ScoregateError(f"{arguments.service} has another canary, {current.model}: roll it back first")
    elif arguments.shadow and not current.shadow:
        raise ScoregateError(f"{arguments.service} has a canary, {current.model}: roll it back first")
    elif arguments.weight:
        taken = rollout.step(arguments.weight, of=current)
    else:
        taken = current
    showing.say(arguments, f"{taken.service} {showing.has(taken)}", showing.canary_json(taken))
    return _walk(rollout, settings, arguments) if arguments.auto else 0


def _walk(rollout: LocalRollout, settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.auto import walk
    from scoregate.rollout.verdict import Action

    last = ""

    def say(verdict: Verdict, weight_percent: int) -> None:
        nonlocal last
        if verdict.why != last or verdict.action is not Action.HOLD:
            last = verdict.why
            showing.show(arguments, verdict, f"{arguments.service} at {weight_percent} %: ")

    ended = walk(rollout, settings, partial(_crown, settings, arguments), say, prometheus=arguments.prometheus)
    showing.say(arguments, f"{arguments.service}: {ended.value}", {"ended": ended.value})
    return 0 if ended is Action.PROMOTE else 4


def _status(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout import canary as records

    current = records.read(settings.home, arguments.service)
    done = records.journal(settings.home, arguments.service)
    if arguments.json:
        print(json.dumps({"canary": showing.canary_json(current) if current else None, "journal": done}))
        return 0
    print(showing.has(current) if current else f"{arguments.service} has no canary")
    showing.history(done)
    return 0


def _verdict(settings: Settings, arguments: argparse.Namespace) -> int:
    verdict = _look(settings, arguments)
    showing.show(arguments, verdict)
    return showing.CODES[verdict.action.value]


def _promote(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.verdict import Action

    rollout = _rollout(settings, arguments)
    verdict = _look(settings, arguments)
    if verdict.action is not Action.PROMOTE and not arguments.anyway:
        raise ScoregateError(f"the verdict is {verdict.action.value}: {verdict.why}; --anyway promotes all the same")
    done = rollout.promote(partial(_crown, settings, arguments), verdict.as_json())
    showing.say(arguments, f"{done.service} {done.model} is the champion", showing.canary_json(done))
    return 0


def _rollback(settings: Settings, arguments: argparse.Namespace) -> int:
    done = _rollout(settings, arguments).rollback()
    showing.say(arguments, f"{done.service} {done.model} gets no more requests", showing.canary_json(done))
    return 0


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.answering import server

    of = {"namespace": arguments.namespace} if arguments.namespace else {}
    where = {"host": arguments.host, "prometheus": arguments.prometheus, "of": of}
    with server(settings, arguments.port, **where) as running:
        running.serve_forever()
    return 0


def _rollout(settings: Settings, arguments: argparse.Namespace) -> LocalRollout:
    from scoregate.rollout.local import LocalRollout

    who = arguments.who or showing.account()
    return LocalRollout(settings, arguments.service, who=who, why=arguments.why)


def _look(settings: Settings, arguments: argparse.Namespace) -> Verdict:
    from scoregate.rollout import canary as records
    from scoregate.rollout.gathering import Gathering, metrics_of

    canary = records.read(settings.home, arguments.service)
    if canary is None:
        raise ScoregateError(f"{arguments.service} has no canary")
    return Gathering(settings, canary, metrics_of(canary, arguments.prometheus)).verdict()


def _eligible(settings: Settings, service: str, name: str | None) -> str:
    """Return the challenger, or the version that `name` names if it is the challenger: a person has approved it."""
    from scoregate.training.registry import CHALLENGER, Registry

    registry = Registry(settings)
    found = next((v for v in registry.versions(service) if CHALLENGER in v.aliases), None)
    asked = registry.resolve(service, name) if name else found
    if asked is None or CHALLENGER not in asked.aliases:
        which = f"{service} {asked.version} is not" if asked else f"{service} has no"
        raise ScoregateError(f"{which} challenger: `scoregate models promote {service}` makes a version eligible")
    return asked.version


def _crown(settings: Settings, arguments: argparse.Namespace, model: str) -> None:
    from scoregate.training import registry

    who, why = arguments.who or showing.account(), arguments.why or "its canary"
    registry.crown(settings, arguments.service, model, who, why)


_VERBS: Mapping[str, Callable[[Settings, argparse.Namespace], int]] = {
    "start": _start,
    "status": _status,
    "verdict": _verdict,
    "promote": _promote,
    "rollback": _rollback,
    "serve": _serve,
}
