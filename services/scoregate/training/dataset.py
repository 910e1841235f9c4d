"""Labelled requests → the service's own vectors, as each would have been served at its own time.

The road is the one of serving: `Request` → `entities` → the FeatureService's views, here by a point-in-time join →
`vector`. So a feature that cannot be read at the time of a request cannot be trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.features import FeatureRow
from scoregate.features.plan import FeaturePlan, compile_plan
from scoregate.features.registry import registry_of
from scoregate.hashing import KeyedHash
from scoregate.settings import Settings
from scoregate.training import ByTime, HeldOut, Problem, maturity
from scoregate.training.vectors import Floats, _feature_rows, _requests, vectors

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

ROW: Final = "request_row"
DAY_US: Final = 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Sampled requests with their vectors; row i is the same request in every member.

    `label` is the truth, `learned` what was known of it when training ended, and `ripe` the share of bad records of
    such an age of which it was known; `weight` is how many records a sampled one stands for; `fold` is -1 in the test
    period. `views` holds what the point-in-time join gave.
    """

    plan: FeaturePlan
    rows: pa.Table
    views: pa.Table
    matrix: Floats
    label: Ints
    learned: Ints
    ripe: Floats
    weight: Floats
    fold: Ints
    turns: tuple[int, ...]

    @property
    def at_us(self) -> Ints:
        """Times of the requests, microseconds since the epoch."""
        return np.asarray(self.rows["event_at"].cast(pa.int64()).to_numpy(), dtype=np.int64)

    @property
    def learned_weight(self) -> Floats:
        """How many records each stands for in training: a label that has come also for those that are to come.

        Those still count as good, one in hundreds, which no score shows; what was missing of the bad ones would.
        """
        return np.where(self.learned > 0, self.weight / self.ripe, self.weight)

    @property
    def train(self) -> Mask:
        return np.asarray(self.fold >= 0)

    @property
    def test(self) -> Mask:
        return np.asarray(self.fold < 0)

    def splits(self) -> Iterator[tuple[Mask, Mask]]:
        """Yield (fit, validate) masks within the training records."""
        for turn in self.turns:
            yield self.train & (self.fold != turn), self.fold == turn

    def row(self, index: int) -> FeatureRow:
        """Return what the views held for one request."""
        return next(_feature_rows(self.plan, self.views.slice(index, 1)))

    def request(self, request_type: Any, index: int) -> Any:
        """Return one request as serving would have had it."""
        return next(_requests(request_type, self.rows.slice(index, 1)))

    def vector(self, index: int, request: Any, row: FeatureRow) -> list[float]:
        """Return the vector of one request, given what `request` and `row` return."""
        return list(self.matrix[index].tolist())

    def examples(self, request_type: Any, chosen: Sequence[int]) -> Iterator[tuple[Any, FeatureRow, list[float]]]:
        """Yield the requests that were chosen, what the views held for each, and its vector."""
        for index in chosen:
            request, row = self.request(request_type, index), self.row(index)
            yield request, row, self.vector(index, request, row)

    def missing(self) -> list[list[str]]:
        """Return what serving would have called missing of each request: views of facts, `view:feature` for nulls."""
        gone: list[list[str]] = [[] for _ in range(self.rows.num_rows)]
        for view in self.plan.views:
            if view.kind != "facts":
                continue
            known = {name: self.views[f"{view.name}__{name}"].is_valid().to_numpy() for name, _ in view.features}
            there = np.any(list(known.values()), axis=0)
            for i in np.flatnonzero(~there):
                gone[i].append(view.name)
            for feature, valid in known.items():
                for i in np.flatnonzero(there & ~valid):
                    gone[i].append(f"{view.name}:{feature}")
        return gone


def read_stream(settings: Settings, stream: str) -> pa.Table:
    """Return all days of an event stream, in order of time.

    Raises:
        ScoregateError: there are none.
    """
    days = sorted((settings.data / stream).glob("*.parquet"))
    if not days:
        raise ScoregateError(f"{settings.data / stream} holds no days: run `scoregate features load` first")
    return pa.concat_tables([pq.read_table(day) for day in days])


def build(service: str, problem: Problem, settings: Settings, say: Callable[[str], None]) -> Dataset:
    """Load, sample and join the problem's records, and compute their vectors.

    Raises:
        ScoregateError: the records do not reach back far enough to train on some and test on others.
    """
    # Feast costs seconds to import: only when a dataset is really built.
    from scoregate.training import prepare

    request_type = catalog.part(service, "contract").Request
    features = catalog.part(service, "features")
    name = problem.feature_service(service)
    plan = compile_plan(registry_of(settings), name)

    every = problem.load(settings).sort_by("event_at")
    fold, turns = _folds(every, problem, settings.seed)
    if not ((fold >= 0).any() and (fold == -1).any()):
        raise ScoregateError(f"{service} has too little history to train on: {every.num_rows:,} records")
    kept, weight = _sample(every, fold, problem, settings)
    rows, fold = every.take(pa.array(kept)), fold[kept]
    say(f"{rows.num_rows:,} of {every.num_rows:,} records")

    hashed = KeyedHash.load(settings.hash_key_path)
    entities = pa.Table.from_pylist([features.entities(r, hashed) for r in _requests(request_type, rows)])
    entity_df = pd.DataFrame({name: entities[name].to_pandas() for name in entities.column_names})
    entity_df["event_timestamp"] = rows["event_at"].to_pandas()
    entity_df[ROW] = np.arange(len(entity_df), dtype=np.int64)
    views = prepare.historical(settings, name, entity_df).sort_by(ROW)
    # Feast's file store drops rows with equal key and time in silence (feast#6787): never trust a join to keep rows.
    if views[ROW].to_pylist() != list(range(rows.num_rows)):
        raise RuntimeError(f"the point-in-time join of {name} returned {views.num_rows} rows for {rows.num_rows}")
    say("features as of each request")

    matrix = vectors(service, plan, rows, views, say)
    label = np.asarray(rows[problem.label].to_numpy(zero_copy_only=False), dtype=np.int64)
    learned, ripe = _learned(rows, fold, label, problem)
    return Dataset(plan, rows, views, matrix, label, learned, ripe, weight, fold, turns)


def _folds(rows: pa.Table, problem: Problem, seed: int) -> tuple[Ints, tuple[int, ...]]:
    """Return each record's fold (-1 tested on, -2 left out) and the folds that take turns in validating."""
    match problem.split:
        case HeldOut(share, folds):
            rng = np.random.default_rng([seed, 1])
            fold = rng.integers(0, folds, rows.num_rows)
            # By a permutation and not by chance for each: the share is exact.
            fold[rng.permutation(rows.num_rows)[: round(share * rows.num_rows)]] = -1
            return fold, tuple(range(folds))
        case ByTime() as days:
            at = rows["event_at"].cast(pa.int64()).to_numpy()
            test_from = at[-1] - days.test_days * DAY_US
            train_to = test_from - days.gap_days * DAY_US
            train_from = max(train_to - days.train_days * DAY_US, at[0])
            block = (at - train_from) * days.folds // max(train_to - train_from, 1)
            fold = np.where((at >= train_from) & (at < train_to), block, -2)
            return np.where(at >= test_from, -1, fold), tuple(range(days.folds))


def _sample(rows: pa.Table, fold: Ints, problem: Problem, settings: Settings) -> tuple[Ints, Floats]:
    """Return the positions kept, ascending, and how many records each stands for: bad ones are rare, so all stay."""
    rng = np.random.default_rng([settings.seed, 2])
    most = min(problem.rows_at_most, settings.train_rows)
    bad = rows[problem.label].to_numpy(zero_copy_only=False).astype(bool)
    weight = np.where(fold == -2, 0.0, 1.0)
    for part in (fold >= 0, fold == -1):
        # What is said to need no labels may not see them through the sampling either.
        many = np.flatnonzero(part & ~bad if problem.objective == "supervised" else part)
        if len(many) > most:
            weight[many] = 0.0
            weight[rng.choice(many, most, replace=False)] = len(many) / most
    kept = np.flatnonzero(weight)
    return kept, weight[kept]


def _learned(rows: pa.Table, fold: Ints, label: Ints, problem: Problem) -> tuple[Ints, Floats]:
    """Return the labels as they were known when the test period began, and how ripe they were by then.

    What arrived later counts as good.
    """
    ripe = np.ones(len(label))
    if problem.known_at is None or not (fold == -1).any():
        return label, ripe
    at = rows["event_at"].cast(pa.int64()).to_numpy()
    starts = at[fold == -1].min()
    arrived = pc.fill_null(rows[problem.known_at].cast(pa.int64()), starts).to_numpy()
    learned = np.asarray(label * (arrived < starts), np.int64)
    train = fold >= 0
    came = train & (learned > 0)
    ripe[train] = maturity.ripe((arrived - at)[came], (starts - at)[came], (starts - at)[train])
    return learned, ripe
