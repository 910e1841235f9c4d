"""`scoregate canary start|status|verdict|promote|rollback`: roll a model out beside the champion, and back."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

from scoregate.errors import ScoregateError
from scoregate.settings import Settings

if TYPE_CHECKING:
    # Everything else is imported by the verb that needs it: a rollback must not wait for libraries.
    from scoregate.rollout.canary import Canary
    from scoregate.rollout.local import LocalRollout
    from scoregate.rollout.verdict import Verdict

WEIGHT_PERCENT = 10


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    canary = verbs.add_parser("canary", help="roll a model out beside the champion, judge it, promote it or go back")
    actions = canary.add_subparsers(title="actions", metavar="ACTION", required=True)
    runs = {
        "start": (_start, "start a canary, or change the weight of the one there is"),
        "status": (_status, "say which canary there is, and what was done to it"),
        "verdict": (_verdict, "promote, hold or rollback, with the evidence per gate; exit code 0, 3 or 4"),
        "promote": (_promote, "make the canary's model the champion"),
        "rollback": (_rollback, "send everything to the stable process at once"),
        "serve": (_serve, "answer GET /<service>/verdict over HTTP"),
    }
    for name, (run, says) in runs.items():
        action = actions.add_parser(name, help=says, description=says)
        action.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        action.set_defaults(run=partial(_told, run))
        if name not in {"status", "rollback"}:
            action.add_argument("--prometheus", metavar="URL", help="read the metrics there, not from the processes")
        if name == "serve":
            action.add_argument("--port", type=int, required=True)
            continue
        action.add_argument("service", help="a service's folder, such as fraud")
        if name in {"start", "promote", "rollback"}:
            action.add_argument("--who", metavar="NAME", help="who does it; default the account of this machine")
            action.add_argument("--why", metavar="TEXT", default="", help="stands in the journal")
        if name == "start":
            action.add_argument("--model", metavar="VERSION", help="beginning of its digest; default the challenger")
            action.add_argument("--weight", type=int, help=f"percent of requests (default: {WEIGHT_PERCENT})")
            how = action.add_mutually_exclusive_group()
            how.add_argument("--auto", action="store_true", help="walk the steps by the verdict, and back by it")
            how.add_argument("--shadow", action="store_true", help="score beside the champion, and answer nobody")
        if name == "promote":
            action.add_argument("--anyway", action="store_true", help="although the verdict is another one")


def _told(run: Any, arguments: argparse.Namespace) -> int:
    from scoregate.local import StackError

    try:
        settings = Settings()
        return int(run(settings.model_copy(update={"home": settings.home.resolve()}), arguments))
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
    elif arguments.weight:
        taken = rollout.step(arguments.weight, of=current)
    else:
        taken = current
    _say(arguments, f"{taken.service} {_has(taken)}", _canary_json(taken))
    return _walk(rollout, settings, arguments) if arguments.auto else 0


def _walk(rollout: LocalRollout, settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.auto import walk
    from scoregate.rollout.verdict import Action

    last = ""

    def say(verdict: Verdict, weight_percent: int) -> None:
        nonlocal last
        if verdict.why != last or verdict.action is not Action.HOLD:
            last = verdict.why
            _show(arguments, verdict, f"{arguments.service} at {weight_percent} %: ")

    ended = walk(rollout, settings, partial(_crown, settings, arguments), say, prometheus=arguments.prometheus)
    _say(arguments, f"{arguments.service}: {ended.value}", {"ended": ended.value})
    return 0 if ended is Action.PROMOTE else 4


def _status(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout import canary as records

    current = records.read(settings.home, arguments.service)
    done = records.journal(settings.home, arguments.service)
    if arguments.json:
        print(json.dumps({"canary": _canary_json(current) if current else None, "journal": done}))
        return 0
    print(_has(current) if current else f"{arguments.service} has no canary")
    for each in done[-20:]:
        verdict = f", verdict {each['evidence']['verdict']}" if each["evidence"] else ""
        print(
            f"  {each['at']}  {each['action']:<9} {each['model']} {each['weight_percent']:>3} %  "
            f"{each['who']}: {each['why'] or '-'}{verdict}"
        )
    return 0


def _verdict(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.verdict import Action

    verdict = _look(settings, arguments)
    _show(arguments, verdict)
    return {Action.PROMOTE: 0, Action.HOLD: 3, Action.ROLLBACK: 4}[verdict.action]


def _promote(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.verdict import Action

    rollout = _rollout(settings, arguments)
    verdict = _look(settings, arguments)
    if verdict.action is not Action.PROMOTE and not arguments.anyway:
        raise ScoregateError(f"the verdict is {verdict.action.value}: {verdict.why}; --anyway promotes all the same")
    done = rollout.promote(partial(_crown, settings, arguments), verdict.as_json())
    _say(arguments, f"{done.service} {done.model} is the champion", _canary_json(done))
    return 0


def _rollback(settings: Settings, arguments: argparse.Namespace) -> int:
    done = _rollout(settings, arguments).rollback()
    _say(arguments, f"{done.service} {done.model} gets no more requests", _canary_json(done))
    return 0


def _serve(settings: Settings, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.answering import server

    with server(settings, arguments.port, arguments.prometheus) as running:
        running.serve_forever()
    return 0


def _rollout(settings: Settings, arguments: argparse.Namespace) -> LocalRollout:
    from scoregate.rollout.local import LocalRollout

    who = arguments.who or _account()
    return LocalRollout(settings, arguments.service, who=who, why=arguments.why)


def _account() -> str:
    import getpass

    return getpass.getuser()


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

    registry.crown(settings, arguments.service, model, arguments.who or _account(), arguments.why or "its canary")


def _has(canary: Canary) -> str:
    return f"{canary.model} {'looks on' if canary.shadow else f'has {canary.weight_percent} %'}"


def _canary_json(canary: Any) -> dict[str, Any]:
    names = ("service", "model", "weight_percent", "shadow", "since_s", "who", "why")
    return {name: getattr(canary, name) for name in names}


def _show(arguments: argparse.Namespace, verdict: Verdict, before: str = "") -> None:
    if arguments.json:
        print(json.dumps(verdict.as_json()), flush=True)
        return
    print(f"{before}{verdict.action.value}: {verdict.why}")
    for found in verdict.findings:
        print(f"  {found}")
    sys.stdout.flush()


def _say(arguments: argparse.Namespace, sentence: str, said: dict[str, Any]) -> None:
    print(json.dumps(said) if arguments.json else sentence, flush=True)
