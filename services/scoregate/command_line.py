"""The command line: every room that has something for it registers its own verbs."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.util import find_spec

from scoregate import __version__, catalog
from scoregate.errors import ScoregateError

_LEDGER = "scoregate.ledger.commands"
_ROOMS = (
    "scoregate.local.commands",
    "scoregate.local.beside",
    "scoregate.rollout.commands",
    "scoregate.serving.commands",
    "scoregate.training.commands",
    "scoregate.training.models_command",
    _LEDGER,
    "scoregate.audit.commands",
    "scoregate.batch.commands",
    "scoregate.monitor.commands",
    "scoregate.rollout.retrain_command",
)


def _register_own(service: str, verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb that is a service's name, if it has commands of its own."""
    if find_spec(f"{service}.commands") is not None:
        own = verbs.add_parser(service, help="what only this service can be asked")
        catalog.part(service, "commands").register(own.add_subparsers(title="actions", metavar="ACTION", required=True))


def run(argv: list[str]) -> int:
    """Run one command; errors that a person can mend end in one sentence and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="scoregate", description="Real-time risk decisions: fraud, credit and KYC models behind one gateway."
    )
    parser.add_argument("--version", action="version", version=f"scoregate {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = argv[:1]
    for room in _ROOMS:
        actions = import_module(room).register(verbs)
        if room == _LEDGER:
            # Deciding again needs the models' libraries, of which the ledger's own room knows nothing.
            import_module("scoregate.audit.commands").register_replay(actions)
        # A process is not asked for what only later rooms need: an image may lack it.
        if asked and asked[0] in verbs.choices:
            break
    for service in catalog.services():
        if asked == [service] or not asked or asked[0].startswith("-"):
            _register_own(service, verbs)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except ScoregateError as problem:
        print(f"scoregate: {problem.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scoregate: interrupted", file=sys.stderr)
        return 130
