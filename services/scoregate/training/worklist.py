"""What people who work through the harshest scores would see: how much work, and how much of the bad it finds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scoregate.training.resample import Draws, Floats, Ints, Measured, ratio

Mask = NDArray[np.bool_]
_Day = tuple[Ints, Floats, Mask]

CARDS: Final = 100
SHARES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def card_precision(
    day: Ints,
    label: Ints,
    score: Floats,
    weight: Floats,
    draws: Draws,
    *,
    known: Mask | None = None,
    most: int = CARDS,
) -> Measured:
    """Return the mean over days of the share of compromised accounts among the `most` most suspect ones.

    An account's score of the day is its highest; it is compromised when a record of it that day is bad. One that was
    found leaves the list of all later days (Le Borgne et al. 2022, "Reproducible machine learning for credit card
    fraud detection", card precision top-k), and so do records of accounts that were `known` by then. Accounts are the
    clusters of the draws. A sampled record counts for as many accounts as it stands for.
    """
    listed = np.arange(len(day)) if known is None else np.flatnonzero(~known)
    days = [_day(listed[day[listed] == one], draws.cluster, label, score, weight) for one in np.unique(day)]
    value = _mean_precision(days, np.ones(draws.times.shape[1]), most)
    return Measured.of(value, [_mean_precision(days, times.astype(np.float64), most) for times in draws.times])


def _day(here: Ints, account: Ints, label: Ints, score: Floats, weight: Floats) -> _Day:
    """Return the accounts of some records, most suspect first, the weight of each, and whether it is compromised."""
    here = here[np.argsort(-score[here], kind="stable")]
    accounts, top = np.unique(account[here], return_index=True)
    bad = np.isin(accounts, account[here[label[here] > 0]])
    order = np.argsort(top)
    return accounts[order], weight[here[top[order]]], bad[order]


def _mean_precision(days: list[_Day], times: Floats, most: int) -> float:
    times = times.copy()
    found = []
    for account, weight, bad in days:
        drawn = weight * times[account]
        listed = np.clip(most - (np.cumsum(drawn) - drawn), 0.0, drawn)
        found.append(float(listed[bad].sum()) / most)
        times[account[bad & (listed > 0)]] = 0.0
    return float(np.mean(found))


def harshest(score: Floats, weight: Floats) -> list[tuple[float, float]]:
    """Return (share in per cent, least score) of lists of the harshest SHARES of all records."""
    order = np.argsort(-score, kind="stable")
    mass = np.cumsum(weight[order]) / weight.sum()
    least = score[order[np.searchsorted(mass, SHARES).clip(max=len(order) - 1)]]
    return [(100 * share, float(one)) for share, one in zip(SHARES, least, strict=True)]


def workload(label: Ints, score: Floats, weight: Floats, draws: Draws, days: float | None) -> list[dict[str, Any]]:
    """Return, for lists of the harshest SHARES of all records, the work and what it finds.

    `score` begins the list; `capture` is the share of all bad records that is on it, `precision` the share of the list
    that is bad, `per_day` its length, where the records span `days`.
    """
    least = [one for _, one in harshest(score, weight)]
    listed = [weight * (score >= one) for one in least]
    total, drawn = draws.totals(np.stack([weight, weight * label, *listed, *(one * label for one in listed)], axis=1))
    points = []
    for i, one in enumerate(least):
        on_list, bad = 2 + i, 2 + len(SHARES) + i
        figures = {
            "share": Measured.of(total[on_list] / total[0], ratio(drawn[:, on_list], drawn[:, 0])),
            "capture": Measured.of(float(ratio(total[bad], total[1])), ratio(drawn[:, bad], drawn[:, 1])),
            "precision": Measured.of(total[bad] / total[on_list], ratio(drawn[:, bad], drawn[:, on_list])),
        }
        if days:
            figures["per_day"] = Measured.of(total[on_list] / days, drawn[:, on_list] / days)
        points.append({"score": float(one), **{name: asdict(figure) for name, figure in figures.items()}})
    return points
