"""What a committee would ask of one training, from records scored out of sample.

    metrics, reliability, workload, money    on the test records, by the forest that is served
    stability     the headline on each fold's unseen records
    thresholds    on training records, scored by forests of other folds: no choice may touch the test
    fairness      on both, because segments of people are small

Nothing here changes the model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoregate.errors import ScoregateError
from scoregate.policy import Policy
from scoregate.settings import Settings
from scoregate.training import ByTime, Problem
from scoregate.training.alerts import alerts
from scoregate.training.dataset import DAY_US, Dataset, Ints, Mask
from scoregate.training.evaluate import METRICS, measure, measure_drawn, reliability, stability
from scoregate.training.fairness import fairness
from scoregate.training.fit import Fitted
from scoregate.training.resample import Draws, Measured
from scoregate.training.thresholds import Scored, begins_at, money, ranks, thresholds
from scoregate.training.vectors import Floats
from scoregate.training.worklist import card_precision, harshest, workload


def draws(problem: Problem, data: Dataset, mask: Mask, seed: int) -> Draws:
    """Draw the problem's groups among some records."""
    groups = data.rows[problem.group].to_numpy(zero_copy_only=False)[mask] if problem.group else None
    return Draws.of(int(mask.sum()), seed, groups)


def draws_of_periods(problem: Problem, data: Dataset, mask: Mask, seed: int) -> Draws:
    """Draw whole days, where records come in time, else the problem's groups.

    What makes the share of bad records rise and fall, such as a merchant who colludes with many accounts, goes across
    groups: by accounts the interval of a share is too narrow by half.
    """
    if not isinstance(problem.split, ByTime):
        return draws(problem, data, mask, seed)
    return Draws.of(int(mask.sum()), seed, (data.at_us[mask] // DAY_US).tolist())


def metrics(problem: Problem, data: Dataset, score: Floats, settings: Settings) -> dict[str, Measured]:
    """Measure the test records; without any label there is nothing to measure.

    Raises:
        ScoregateError: they are all good or all bad.
    """
    if not is_labelled(problem, data):
        return {}
    test = data.test
    label, weight = data.label[test], data.weight[test]
    if label.min() == label.max():
        raise ScoregateError(f"all {len(label):,} test records are {'bad' if label[0] else 'good'}: nothing to measure")
    drawn = draws(problem, data, test, settings.seed)
    found = measure_drawn(label, score[test], weight, drawn)
    if problem.group and isinstance(problem.split, ByTime) and problem.objective == "supervised":
        day = data.at_us // DAY_US
        whole = _in_whole_days(data.at_us[test])
        known = _known_before(problem, data, day, settings)[test][whole]
        cards = Draws(drawn.cluster[whole], drawn.times)
        found["card_precision_at_100"] = card_precision(
            day[test][whole], label[whole], score[test][whole], weight[whole], cards, known=known
        )
    return found


def is_labelled(problem: Problem, data: Dataset) -> bool:
    """Whether anything is known to be bad; anomalies may be looked for without."""
    return problem.objective == "supervised" or bool(data.label.any())


def _in_whole_days(at_us: Ints) -> Mask:
    """Leave out a first day that begins after noon UTC and a last one that ends before: no day's work is in it."""
    first, last = at_us.min(), at_us.max()
    late = (at_us // DAY_US == first // DAY_US) & (first % DAY_US > DAY_US // 2)
    early = (at_us // DAY_US == last // DAY_US) & (last % DAY_US < DAY_US // 2)
    whole = ~(late | early)
    return np.asarray(whole if whole.any() else np.ones(len(at_us), np.bool_))


def _known_before(problem: Problem, data: Dataset, day: Ints, settings: Settings) -> Mask:
    """Say which records are of accounts that were known as compromised when the record's day began.

    Only labels that arrived since training began count: before, the account has long had a new card.
    """
    if problem.known_at is None or problem.group is None:
        return np.zeros(len(day), np.bool_)
    every = problem.load(settings)
    bad = every.filter(pc.and_(every[problem.label].cast(pa.bool_()), every[problem.known_at].is_valid()))
    arrived = np.asarray(bad[problem.known_at].cast(pa.int64()).to_numpy(), np.int64)
    since = arrived >= data.at_us[data.train].min()
    first: dict[Any, int] = {}
    for account, at in zip(np.array(bad[problem.group].to_pylist())[since], arrived[since], strict=True):
        first[account] = min(int(at), first.get(account, int(at)))
    never = np.iinfo(np.int64).max
    known = np.array([first.get(account, never) for account in data.rows[problem.group].to_pylist()], np.int64)
    return np.asarray(known <= day * DAY_US)


def details(
    problem: Problem,
    data: Dataset,
    fitted: Fitted,
    policy: Policy,
    names: tuple[str, ...],
    score: Floats,
    floor: Ints,
    settings: Settings,
) -> dict[str, Any]:
    """Return the evidence beyond the metrics as JSON, by the names of the module's table.

    `floor` is the rank that rules and absent facts demand of each record, whatever its score.
    """
    seed, test = settings.seed, data.test
    unseen = np.where(test, score, fitted.unseen(len(score)))
    amount = data.matrix[:, names.index(policy.amount_feature)] if policy.amount_feature else np.zeros(len(score))

    def scored(mask: Mask) -> Scored:
        drawn = draws(problem, data, mask, seed)
        return Scored(data.label[mask], unseen[mask], amount[mask], data.weight[mask], floor[mask], drawn)

    tested, trained = scored(test), scored(data.train & ~np.isnan(unseen))
    if not is_labelled(problem, data):
        begins = {
            outcome.name: one for outcome in policy.outcomes[1:] if (one := begins_at(policy, outcome)) is not None
        }
        return {"alerts": _alerts(problem.linked, data, score, begins, seed)} if problem.linked else {}
    days = float(np.ptp(data.at_us[test]) / DAY_US) if isinstance(problem.split, ByTime) else None
    headline = problem.headline if problem.headline in METRICS else "average_precision"
    folds = [
        measure(data.label[place], fitted.calibrated(margin), data.weight[place]) for place, margin in fitted.turns
    ]
    found: dict[str, Any] = {
        "reliability": reliability(tested.label, tested.score, tested.weight, tested.draws),
        "workload": workload(tested.label, tested.score, tested.weight, tested.draws, days),
        "stability": stability(folds, headline),
        "money": money(policy, tested),
        "thresholds": thresholds(policy, trained),
    }
    if problem.linked:
        outcomes = found["thresholds"]["outcomes"].items()
        begins = {name: one["score"] for name, one in outcomes if one["score"] is not None}
        found["alerts"] = _alerts(problem.linked, data, score, begins, seed)
    if problem.protected:
        both = ~np.isnan(unseen)
        records = scored(both)
        found["fairness"] = fairness(
            _attributes(problem.protected(settings), data.rows.filter(pa.array(both))),
            approved=final_ranks(policy, records) == 0,
            bad=records.label,
            score=records.score,
            weight=records.weight,
            draws=records.draws,
        )
    return found


def _alerts(
    linked: Callable[[pa.Table], Any], data: Dataset, score: Floats, begins: dict[str, float], seed: int
) -> list[dict[str, Any]]:
    """Count alerts where outcomes begin, and on lists of the harshest scores."""
    test = data.test
    score, weight = score[test], data.weight[test]
    lists = {f"the harshest {share:.3g} %": score for share, score in harshest(score, weight)}
    group = np.asarray(linked(data.rows.filter(pa.array(test))))
    return alerts(score, weight, group, data.at_us[test] // DAY_US, begins | lists, seed)


def final_ranks(policy: Policy, records: Scored) -> Ints:
    """Return the rank of each record's outcome, with rules and absent facts."""
    return np.maximum(ranks(policy, records.score, records.amount), records.floor)


def _attributes(protected: pa.Table, rows: pa.Table) -> dict[str, list[Any]]:
    """Look the attributes of each request up by the column that both tables have.

    Raises:
        ScoregateError: there is not exactly one, or it does not name each record once.
    """
    shared = [name for name in protected.column_names if name in rows.column_names]
    if len(shared) != 1:
        raise ScoregateError(f"protected attributes share {len(shared)} columns with the requests, and need one")
    (key,) = shared
    place = {name: i for i, name in enumerate(protected[key].to_pylist())}
    if len(place) != protected.num_rows:
        raise ScoregateError(f"protected attributes name a {key} twice")
    found = [place.get(name) for name in rows[key].to_pylist()]
    if all(i is None for i in found):
        raise ScoregateError(f"protected attributes name no {key} of the requests")
    taken = protected.drop_columns([key]).take(pa.array(found, pa.int64()))
    return {name: taken[name].to_pylist() for name in taken.column_names}
