"""The first thing that a rollback does, before the libraries of all the rest are imported: the weights.

What was waiting for its turn finds the canary gone. `LocalRollout.rollback` does what remains: the journal, the
process.
"""

from __future__ import annotations

from pathlib import Path

from scoregate.home import home
from scoregate.local.routes import go_back, turn


def rollout_dir(home: Path) -> Path:
    return home / "rollout"


def state_file(home: Path, service: str) -> Path:
    """The canary that there is."""
    return rollout_dir(home) / f"{service}.json"


def leaving_file(home: Path, service: str) -> Path:
    """The canary that has no weight any more, until its journal says so and its process ends."""
    return rollout_dir(home) / f"{service}.leaving"


def flip(words: list[str]) -> None:
    """Go back as the command line says, `words` without the verb itself.

    Nothing happens here unless the service comes first, as everybody writes it, and its canary is of this machine's
    stack: the verb itself understands every order of words, and has the errors.
    """
    # Options may be shortened.
    if not words or any(word.startswith(("-h", "--h", "--k")) for word in words):
        return
    where, service = home(), words[0]
    if state_file(where, service).is_file():
        # At once, and again in turn: a step may be under way that has looked already and not yet written.
        go_back(where, service)
        with turn(where, service):
            leave(where, service)


def leave(home: Path, service: str) -> None:
    """Take a canary's weight and its place, in turn."""
    go_back(home, service)
    state = state_file(home, service)
    if state.is_file():
        state.replace(leaving_file(home, service))
