"""What the verbs print, the same for every place that a canary can be in."""

from __future__ import annotations

import argparse
import getpass
import json
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    # A rollback prints a line, and must not wait for what verdicts need.
    from scoregate.rollout.canary import Canary
    from scoregate.rollout.verdict import Verdict

CODES: Final = {"promote": 0, "hold": 3, "rollback": 4}
"""Exit codes by verdict."""
LAST: Final = 20


def account() -> str:
    return getpass.getuser()


def has(canary: Canary) -> str:
    return f"{canary.model} {'looks on' if canary.shadow else f'has {canary.weight_percent} %'}"


def canary_json(canary: Canary) -> dict[str, Any]:
    names = ("service", "model", "weight_percent", "shadow", "since_s", "who", "why")
    return {name: getattr(canary, name) for name in names}


def show(arguments: argparse.Namespace, verdict: Verdict, before: str = "") -> None:
    if arguments.json:
        print(json.dumps(verdict.as_json()), flush=True)
        return
    print(f"{before}{verdict.action.value}: {verdict.why}")
    for found in verdict.findings:
        print(f"  {found}")
    sys.stdout.flush()


def say(arguments: argparse.Namespace, sentence: str, said: dict[str, Any]) -> None:
    print(json.dumps(said) if arguments.json else sentence, flush=True)


def history(done: Sequence[Mapping[str, Any]]) -> None:
    """Print the last actions of a journal."""
    for each in done[-LAST:]:
        verdict = f", verdict {each['evidence']['verdict']}" if each["evidence"] else ""
        print(
            f"  {each['at']}  {each['action']:<9} {each['model']} {each['weight_percent']:>3} %  "
            f"{each['who']}: {each['why'] or '-'}{verdict}"
        )
