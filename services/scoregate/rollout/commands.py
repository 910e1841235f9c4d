"""`scoregate canary start|status|verdict|promote|rollback`: roll a model out beside the champion, and back.

The same words for the local stack and, with `--kube`, for a Helm release.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib import import_module

from scoregate.rollout.flip import RELEASE

_VERBS = {
    "start": "start a canary, or change the weight of the one there is",
    "status": "say which canary there is, and what was done to it",
    "verdict": "promote, hold or rollback, with the evidence per gate; exit code 0, 3 or 4",
    "promote": "make the canary's model the champion; of a release, say which Helm commands do",
    "rollback": "send everything to the stable process at once",
    "serve": "answer GET /<service>/verdict over HTTP",
}


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb to the command line."""
    canary = verbs.add_parser("canary", help="roll a model out beside the champion, judge it, promote it or go back")
    actions = canary.add_subparsers(title="actions", metavar="ACTION", required=True)
    for name, says in _VERBS.items():
        action = actions.add_parser(name, help=says, description=says)
        action.add_argument("--json", action="store_true", help="print one JSON object on stdout")
        action.set_defaults(run=partial(_run, name))
        if name not in {"status", "rollback"}:
            action.add_argument("--prometheus", metavar="URL", help="read the metrics there, not from the processes")
        if name == "serve":
            action.add_argument("--port", type=int, required=True)
            action.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
            action.add_argument("--namespace", help="of the pods, where Prometheus says the metrics")
            continue
        action.add_argument("service", help="a service's folder, such as fraud")
        _add_place(action)
        if name in {"start", "promote", "rollback"}:
            action.add_argument("--who", metavar="NAME", help="who does it; default the account of this machine")
            action.add_argument("--why", metavar="TEXT", default="", help="stands in the journal")
        if name == "start":
            _add_start(action)
        if name == "promote":
            action.add_argument("--anyway", action="store_true", help="although the verdict is another one")


def _add_place(action: argparse.ArgumentParser) -> None:
    action.add_argument("--kube", action="store_true", help="of a Helm release, by kubectl, not of the local stack")
    action.add_argument("--release", default=RELEASE, help="the release's name (default: %(default)s)")
    action.add_argument("--namespace", help="default: that of kubectl's context")


def _add_start(action: argparse.ArgumentParser) -> None:
    action.add_argument("--model", metavar="VERSION", help="beginning of its digest; default the challenger")
    action.add_argument("--weight", type=int, help="percent of requests (default: 10)")
    how = action.add_mutually_exclusive_group()
    how.add_argument("--auto", action="store_true", help="walk the steps by the verdict, and back by it")
    how.add_argument("--shadow", action="store_true", help="score beside the champion, and answer nobody")


def _run(verb: str, arguments: argparse.Namespace) -> int:
    # Imported when it is known which: a rollback must not wait for libraries.
    place = "kube" if getattr(arguments, "kube", False) else "local"
    return int(import_module(f"scoregate.rollout.{place}_commands").run(verb, arguments))
