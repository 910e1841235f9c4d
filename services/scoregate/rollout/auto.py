"""Walks a canary's steps by the verdict alone: on when it is clear, back when it is not; no person in the loop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from scoregate.errors import DependencyError
from scoregate.rollout.gathering import Gathering, metrics_of
from scoregate.rollout.local import LocalRollout
from scoregate.rollout.verdict import Action, Verdict
from scoregate.settings import Settings

STEPS: Final = (10, 50)
LOOK_S: Final = 2.0


def walk(
    rollout: LocalRollout,
    settings: Settings,
    crown: Callable[[str], object],
    say: Callable[[Verdict, int], None],
    *,
    steps: tuple[int, ...] = STEPS,
    prometheus: str | None = None,
) -> Action:
    """Judge a running canary step by step until it is promoted or rolled back; each step on what it shows itself.

    Raises:
        StackError: somebody else ended the canary, or it could not be promoted.
    """
    while True:
        canary = rollout.canary
        if canary is None:
            return Action.ROLLBACK
        verdict = decide(Gathering(settings, canary, metrics_of(canary, prometheus)), say)
        following = [step for step in steps if step > canary.weight_percent]
        if verdict.action is Action.ROLLBACK:
            rollout.rollback(verdict.as_json(), of=canary)
            return Action.ROLLBACK
        if not following:
            rollout.promote(crown, verdict.as_json())
            return Action.PROMOTE
        rollout.step(following[0], of=canary, verdict=verdict.as_json())


def decide(gathering: Gathering, say: Callable[[Verdict, int], None]) -> Verdict:
    """Look until there is something to do."""
    while True:
        try:
            verdict = gathering.verdict()
        except DependencyError:
            # Nothing can be said without it, and it comes back: the canary keeps its share meanwhile.
            time.sleep(LOOK_S)
            continue
        say(verdict, gathering.canary.weight_percent)
        if verdict.action is not Action.HOLD:
            return verdict
        time.sleep(LOOK_S)
