"""The `scoregate` command. Nothing is imported here that a rollback does not need before the weights are back."""

from __future__ import annotations

import sys

from scoregate.rollout.flip import flip


def main(argv: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words[:2] == ["canary", "rollback"]:
        flip(words[2:])
    from scoregate.command_line import run

    return run(words)


if __name__ == "__main__":
    sys.exit(main())
