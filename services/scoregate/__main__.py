"""The `scoregate` command: every room that has something for the command line registers its own verbs."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

from scoregate import __version__
from scoregate.errors import ScoregateError

_ROOMS = ("scoregate.local.commands", "scoregate.training.commands", "scoregate.ledger.commands")


def main(argv: list[str] | None = None) -> int:
    """Run one command; errors that a person can mend end in one sentence and exit code 1."""
    parser = argparse.ArgumentParser(
        prog="scoregate", description="Real-time risk decisions: fraud, credit and KYC models behind one gateway."
    )
    parser.add_argument("--version", action="version", version=f"scoregate {__version__}")
    verbs = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for room in _ROOMS:
        import_module(room).register(verbs)
    arguments = parser.parse_args(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except ScoregateError as problem:
        print(f"scoregate: {problem.detail}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("scoregate: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
