"""How many alerts a day a team would see: linked records make one alert, however many of them are above a score."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from scoregate.training.resample import Draws, Floats, Ints, Measured, ratio


def alerts(
    score: Floats, weight: Floats, group: Ints, day: Ints, thresholds: Mapping[str, float], seed: int
) -> list[dict[str, Any]]:
    """Return for each threshold the records and the alerts a day, with intervals over days.

    An alert counts on the day of its first record above the threshold. Of a sample, where records stand for others,
    only groups that were sampled can be counted: `at_least` says so.
    """
    days, place = np.unique(day, return_inverse=True)
    draws = Draws.of(len(days), seed)
    found = []
    for name, least in sorted(thresholds.items(), key=lambda one: -one[1]):
        above = score >= least
        records = np.bincount(place[above], weight[above], len(days))
        first = np.full(int(group.max(initial=0)) + 1, len(days))
        np.minimum.at(first, group[above], place[above])
        begun = np.bincount(first[first < len(days)], minlength=len(days)).astype(np.float64)
        total, drawn = draws.totals(np.stack([records, begun, np.ones(len(days))], axis=1))
        per_day = [Measured.of(total[i] / total[2], ratio(drawn[:, i], drawn[:, 2])) for i in (0, 1)]
        found.append(
            {
                "from": name,
                "score": float(least),
                "records_per_day": asdict(per_day[0]),
                "alerts_per_day": asdict(per_day[1]),
                "at_least": bool((weight > 1).any()),
            }
        )
    return found
