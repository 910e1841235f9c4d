"""The first thing that a rollback does, before the libraries of all the rest are imported: the weights.

What was waiting for its turn finds the canary gone. `LocalRollout.rollback` does what remains: the journal, the
process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scoregate.home import home
from scoregate.local.routes import go_back, turn

RELEASE: Final = "scoregate"
"""A Helm release, where no other is named."""

_WITH_VALUES: Final = ("--release", "--namespace", "--who", "--why")


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
    stack, or of a release whose options are written out: the verb itself understands every order of words, and has the
    errors.
    """
    # Options may be shortened.
    if not words or any(word.startswith(("-h", "--h")) for word in words):
        return
    if any(word.startswith("--k") for word in words):
        if (found := release_of(words)) is not None:
            _flip_release(*found)
        return
    where, service = home(), words[0]
    if state_file(where, service).is_file():
        # At once, and again in turn: a step may be under way that has looked already and not yet written.
        go_back(where, service)
        with turn(where, service):
            leave(where, service)


def release_of(words: list[str]) -> tuple[str, str, str | None] | None:
    """Return service, release and namespace; None where a word could mean something else than it says."""
    service, *rest = words
    said, more = {"--release": RELEASE}, iter(rest)
    for word in more:
        option, equals, value = word.partition("=")
        if word == "--kube":
            continue
        if option not in _WITH_VALUES:
            return None
        said[option] = value if equals else next(more, "")
    return None if service.startswith("-") else (service, said["--release"], said.get("--namespace"))


def _flip_release(service: str, release: str, namespace: str | None) -> None:
    from scoregate.errors import ScoregateError
    from scoregate.rollout import route
    from scoregate.rollout.kubectl import Kubectl

    name = route.route_name(release, service)
    try:
        Kubectl(namespace).patch_route(name, route.usual_flip(name))
    except ScoregateError:
        # What stands against it the verb finds again, and says.
        return


def leave(home: Path, service: str) -> None:
    """Take a canary's weight and its place, in turn."""
    go_back(home, service)
    state = state_file(home, service)
    if state.is_file():
        state.replace(leaving_file(home, service))
