"""The windows that are compared, and when they are reason to train again; pure.

Days and weeks have seasons: an hour on Sunday night is never like the training's whole. So an hour has moved as far as
it is from the same hour of the week before, or of the one before that, whichever is nearer: what was odd last week is
not odd now. A whole week, in which every season is, is compared with the reference.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Final, Self

from scoregate.errors import ScoregateError
from scoregate.monitor.tally import FEATURE, OUTCOME, SCORE, Counts, Reference, Tally, psi, total
from scoregate.values import frozen

BUCKET_S: Final = 600
HOUR_S: Final = 3_600
WEEK_S: Final = 604_800
LEAST: Final = 1_000
"""Decisions in a window: fewer differ by chance alone as much as others by drift."""

HOUR, WEEK = "hour", "week"


@frozen
class Triggers:
    """PSI above which a model is to be trained again; a service's `triggers.toml` says what is other for it."""

    score: float = 0.1
    outcome: float = 0.1
    feature: float = 0.12

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read what a service declares.

        Raises:
            ScoregateError: it is no trigger.
        """
        path = folder / "triggers.toml"
        if not path.exists():
            return cls()
        said = tomllib.loads(path.read_text())
        if unknown := said.keys() - {field.name for field in fields(cls)}:
            raise ScoregateError(f"{path} declares {', '.join(sorted(unknown))}, which is no trigger")
        return replace(cls(), **{name: float(value) for name, value in said.items()})

    def bound(self, subject: str) -> float:
        return {SCORE: self.score, OUTCOME: self.outcome}.get(subject, self.feature)


@frozen
class Look:
    """What was seen at a time. `psi`: window → subject → PSI; a window of too few decisions is not there."""

    at_s: float
    decisions: Mapping[str, int]
    psi: Mapping[str, Mapping[str, float]]

    def due(self, triggers: Triggers) -> list[str]:
        """Say in sentences why the model should be trained again; nothing where it need not be."""
        return [
            f"{subject.removeprefix(FEATURE)} of the last {window} has a PSI of {value:.3f}, above {bound:g}"
            for window, values in self.psi.items()
            for subject, value in values.items()
            if value > (bound := triggers.bound(subject))
        ]


def look(reference: Reference, history: Mapping[int, Tally], at_s: float) -> Look:
    """Compare; `history`: start of each ten minutes → their decisions. Only whole ten minutes count."""
    end = int(at_s) // BUCKET_S * BUCKET_S

    def window(until: int, length_s: int) -> Tally:
        starts = range(until - length_s, until, BUCKET_S)
        return total(reference, [history[start] for start in starts if start in history])

    hour, week = window(end, HOUR_S), window(end, WEEK_S)
    earlier = [before for weeks in (1, 2) if (before := window(end - weeks * WEEK_S, HOUR_S)).decisions >= LEAST]
    found: dict[str, dict[str, float]] = {}
    if hour.decisions >= LEAST and earlier:
        against = [_against(before.counts, hour) for before in earlier]
        found[HOUR] = {subject: min(values[subject] for values in against) for subject in hour.counts}
    is_whole = bool(history) and min(history) <= end - WEEK_S
    if is_whole and week.decisions >= LEAST:
        found[WEEK] = _against(reference.counts, week)
    return Look(end, {HOUR: hour.decisions, WEEK: week.decisions}, found)


def _against(expected: Mapping[str, Counts], actual: Tally) -> dict[str, float]:
    return {subject: psi(expected[subject], counts) for subject, counts in actual.counts.items()}
