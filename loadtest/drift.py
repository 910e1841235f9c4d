"""Drift rehearsed over simulated weeks: how soon it is seen, and that seasons are none.

    python loadtest/drift.py --home .scoregate --json

Decisions are drawn from the reference of a champion, ten minutes at a time, with a daily and a weekly season in every
feature, in scores and outcomes. The first two weeks are history, the next --days have no drift; then, run by run, one
subject drifts by --psi. What looks at them, and what it calls due, is what `scoregate monitor` does; the alert is that
of deploy/prometheus, its `for` counted. The exit code is 1 when

  false   an alert fires in the days without drift
  late    one drifts, and no alert fires within an hour
  weak    the seasons are too weak to show anything: nothing was above its bound against the reference
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from scoregate import catalog
from scoregate.models.artefact import champion
from scoregate.monitor.history import reference_of
from scoregate.monitor.look import BUCKET_S, WEEK_S, Triggers, look
from scoregate.monitor.tally import OUTCOME, SCORE, Counts, Reference, Tally, psi
from scoregate.settings import Settings

DAY_S = 86_400
FOR_S = 300
"""How long an alert must have held before it fires: `5m` in the rules."""
SOON_S = 3_600
AMPLITUDE = 1.2
"""Of the seasons: at their height an hour's PSI against the reference is above what is reason to train again."""


@dataclass(slots=True)
class Result:
    """What one service's rehearsal showed; times in minutes from the beginning of the drift."""

    service: str
    decisions: int = 0
    largest_without_drift: dict[str, float] = field(default_factory=dict)
    season_psi_of_an_hour: float = 0.0
    false_alarms: int = 0
    fired_after_min: dict[str, float | None] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        within = all(after is not None and after * 60 <= SOON_S for after in self.fired_after_min.values())
        return not self.false_alarms and within and self.season_psi_of_an_hour > Triggers().feature


class Generator:
    """Draws ten minutes of decisions; `drifting` subjects have moved by a PSI."""

    def __init__(self, reference: Reference, per_s: float, seed: int) -> None:
        self._reference, self._per_s = reference, per_s
        self._rng = np.random.default_rng(seed)
        self.drifting: dict[str, Counts] = {}

    def ten_minutes(self, at_s: int) -> Tally:
        season = AMPLITUDE * (math.sin(2 * math.pi * at_s / DAY_S) + math.sin(2 * math.pi * at_s / WEEK_S)) / 2
        busy = 1 + 0.5 * math.sin(2 * math.pi * at_s / DAY_S + 1)
        decisions = int(self._rng.poisson(self._per_s * BUCKET_S * busy))
        counts = {
            subject: self._rng.multinomial(decisions, tilted(self.drifting.get(subject, shares(counts)), season))
            for subject, counts in self._reference.counts.items()
        }
        return Tally(decisions, {subject: drawn.astype(float) for subject, drawn in counts.items()})


def shares(counts: Counts) -> Counts:
    return counts / counts.sum()


def tilted(of: Counts, by: float) -> Counts:
    """Move mass from the first bins to the last, or back."""
    return shares(of * np.exp(by * np.linspace(-1, 1, len(of))))


def moved(of: Counts, by_psi: float) -> Counts:
    """Tilt until the PSI is as asked.

    Raises:
        ValueError: nothing in it can move that far.
    """
    low, high = 0.0, 20.0
    if psi(of, tilted(shares(of), high)) < by_psi:
        raise ValueError("too little in it can move")
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if psi(of, tilted(shares(of), middle)) < by_psi else (low, middle)
    return tilted(shares(of), high)


def rehearse(service: str, settings: Settings, arguments: argparse.Namespace) -> Result:
    reference = reference_of(champion(settings.models(service)))
    generator = Generator(reference, arguments.per_s, arguments.seed)
    result = Result(service)
    start = 1_700_000_000 // WEEK_S * WEEK_S
    drift_at = start + 2 * WEEK_S + arguments.days * DAY_S
    history = {at: generator.ten_minutes(at) for at in range(start, drift_at, BUCKET_S)}
    result.decisions = sum(tally.decisions for tally in history.values())
    triggers = Triggers()
    since = 0
    for at in range(start + 2 * WEEK_S, drift_at, BUCKET_S):
        found = look(reference, _until(history, at), at)
        since = since + BUCKET_S if found.due(triggers) else 0
        result.false_alarms += since > FOR_S
        for values in found.psi.values():
            for subject, value in values.items():
                largest = result.largest_without_drift
                largest[_kind(subject)] = max(largest.get(_kind(subject), 0.0), value)
        hour = _until(history, at)[at - BUCKET_S]
        season = max(psi(reference.counts[subject], counts) for subject, counts in hour.counts.items())
        result.season_psi_of_an_hour = max(result.season_psi_of_an_hour, season)
    for subject, drifted in _drifts(reference, arguments.psi):
        generator.drifting = {subject: drifted}
        result.fired_after_min[subject] = _fires(reference, dict(history), generator, drift_at, triggers)
    return result


def _fires(
    reference: Reference, history: dict[int, Tally], generator: Generator, drift_at: int, triggers: Triggers
) -> float | None:
    """Minutes until the alert fires: the look after which it has been due for long enough."""
    for at in range(drift_at, drift_at + 2 * SOON_S, BUCKET_S):
        history[at] = generator.ten_minutes(at)
        if look(reference, _until(history, at + BUCKET_S), at + BUCKET_S).due(triggers):
            return (at + BUCKET_S - drift_at + FOR_S) / 60
    return None


def _until(history: dict[int, Tally], at: int) -> dict[int, Tally]:
    """What a look at that time reads, and no more: two weeks."""
    return {start: history[start] for start in range(at - 2 * WEEK_S, at, BUCKET_S) if start in history}


def _drifts(reference: Reference, by_psi: float) -> Iterator[tuple[str, Counts]]:
    """Each subject in which so much can move."""
    for subject, counts in reference.counts.items():
        try:
            yield subject, moved(counts, by_psi)
        except ValueError:
            print(f"{subject} cannot drift by {by_psi:g}: it has hardly any values but one", file=sys.stderr)


def _kind(subject: str) -> str:
    return subject if subject in (SCORE, OUTCOME) else "features"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, default=Settings().home)
    parser.add_argument("--services", nargs="+", default=catalog.services())
    parser.add_argument("--per-s", type=float, default=10.0)
    parser.add_argument("--days", type=int, default=14, help="without drift (%(default)s)")
    parser.add_argument("--psi", type=float, default=0.25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings = Settings(home=arguments.home)
    results = [rehearse(service, settings, arguments) for service in arguments.services]
    for result in results:
        print(json.dumps({**asdict(result), "holds": result.holds}) if arguments.json else result)
    return int(not all(result.holds for result in results))


if __name__ == "__main__":
    sys.exit(main())
