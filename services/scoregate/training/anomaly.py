"""Approaches to anomalies, compared on what labels there are. Each makes one forest, so whichever is kept serves alike.

    contrast     records against a reference sample in which every feature is drawn by itself
    supervised   the labels that are known
    guided       the contrast's trees, on which boosting goes on with the labels
    isolation    scikit-learn's isolation forest: measured with the others and never kept, for it gives no exact reasons

Kept is what ranks bad records best among records that its trees had not seen, and where labels tell kinds of bad apart
also those of kinds that it was never shown: what only labels teach finds only what was labelled before. Without labels
nothing can be measured, and the contrast is kept.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray

from scoregate.training import Problem
from scoregate.training.boosting import Boosting, Sample, platt
from scoregate.training.contrast import isolation, reference_sample
from scoregate.training.dataset import Dataset
from scoregate.training.evaluate import measure_drawn
from scoregate.training.resample import Draws, Floats, Ints, Measured
from scoregate.values import frozen

Say = Callable[[str], None]

YARDSTICK: Final = "isolation"
TITLE: Final = "isolation forest"

FEWEST_BAD: Final = 20
DRAWS: Final = 200
METRIC: Final = "average_precision"


@dataclass(frozen=True, slots=True, eq=False)
class Unseen:
    """Margins of each approach on the same records, none of which its trees had seen; weight 0 leaves one out."""

    margins: Mapping[str, Floats]
    label: Ints
    weight: Floats


@frozen
class Choice:
    """Which approach was kept and why; each one's average precision on unseen records, and on those of new kinds."""

    kept: str
    why: str
    known: Mapping[str, Measured]
    new: Mapping[str, Measured]


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """What was fitted without one fold: where its records are, each approach's margins on them, and its rounds.

    `new` holds margins by forests that were not shown the kinds `left_out` either.
    """

    place: Ints
    margins: Mapping[str, Floats]
    new: Mapping[str, Floats]
    left_out: tuple[str, ...]
    rounds: Mapping[str, int]

    @classmethod
    def fit(
        cls, problem: Problem, data: Dataset, boosting: Boosting, turn: int, rng: np.random.Generator, say: Say
    ) -> Self:
        learn, validate = list(data.splits())[turn]
        watch = Sample.of(data, validate)
        found = forests(boosting, Sample.of(data, learn), watch, {}, rng)
        rounds = {name: one.num_boosted_rounds() for name, one in found.items()}
        if "guided" in rounds:
            rounds["guided"] = max(rounds["guided"] - rounds["contrast"], 1)
        say(f"fold {turn + 1} stopped after " + ", ".join(f"{many} rounds ({name})" for name, many in rounds.items()))
        margins = {name: boosting.margin(one, watch) for name, one in found.items()}
        (margins[YARDSTICK],) = isolation(data.matrix[learn].astype(np.float32), boosting.seed, watch.matrix)
        new, left_out = dict(margins), kinds_of(problem, data)[turn :: len(data.turns)]
        if left_out and "supervised" in found:
            shown = Sample.of(data, learn & ~np.isin(_kind(problem, data), left_out))
            if labels_do(shown):
                blind = learned(boosting, shown, None, rounds, found["contrast"])
                new |= {name: boosting.margin(one, watch) for name, one in blind.items()}
        return cls(np.flatnonzero(validate), margins, new, left_out, rounds)


def kinds_of(problem: Problem, data: Dataset) -> tuple[str, ...]:
    """Return the kinds of bad records that labels of training tell apart; none where they do not."""
    if problem.kind is None or problem.kind not in data.rows.column_names:
        return ()
    return tuple(sorted(set(_kind(problem, data)[data.train & (data.learned > 0)]) - {""}))


def _kind(problem: Problem, data: Dataset) -> NDArray[np.str_]:
    return np.array([kind or "" for kind in data.rows[problem.kind].to_pylist()])


def unseen(
    problem: Problem, data: Dataset, folds: Sequence[Fold], names: Sequence[str]
) -> tuple[Unseen, Unseen | None]:
    """Put the folds' margins one after another: on all records, and on good ones and those of kinds left out."""
    place = np.concatenate([fold.place for fold in folds])
    label, weight = data.learned[place], data.weight[place]
    known = Unseen({name: np.concatenate([fold.margins[name] for fold in folds]) for name in names}, label, weight)
    if not kinds_of(problem, data):
        return known, None
    kind = _kind(problem, data)
    is_new = np.concatenate([np.isin(kind[fold.place], fold.left_out) for fold in folds])
    new = {name: np.concatenate([fold.new[name] for fold in folds]) for name in names}
    return known, Unseen(new, label, np.where((label > 0) & ~is_new, 0.0, weight))


def forests(
    boosting: Boosting, learn: Sample, watch: Sample | None, rounds: Mapping[str, int], rng: np.random.Generator
) -> dict[str, xgb.Booster]:
    """Fit every approach that the labels allow; `watch` stops fitting early, and without it `rounds` says when."""
    contrast = boosting.fit(
        _against_reference(learn, boosting.spread, rng),
        watch and _against_reference(watch, boosting.spread, rng),
        rounds.get("contrast"),
    )
    found = {"contrast": contrast}
    if not labels_do(learn) or (watch is not None and not labels_do(watch)):
        return found
    return found | learned(boosting, learn, watch, rounds, contrast)


def learned(
    boosting: Boosting, learn: Sample, watch: Sample | None, rounds: Mapping[str, int], contrast: xgb.Booster
) -> dict[str, xgb.Booster]:
    """Fit the approaches that learn labels, one of them on top of the contrast."""
    found = {"supervised": boosting.fit_labels(learn, watch, rounds.get("supervised"))}
    a, b = platt(boosting.margin(contrast, learn), learn.label, learn.weight)
    # Where labels contradict it the contrast is nothing to build on.
    if a > 0:
        found["guided"] = boosting.fit_labels(learn, watch, rounds.get("guided"), on=scaled(contrast, a, b))
    return found


def labels_do(sample: Sample) -> bool:
    """Whether there are enough labels of both kinds to learn from."""
    bad = int((sample.label > 0).sum())
    return min(bad, len(sample.label) - bad) >= FEWEST_BAD


def choose(known: Unseen, new: Unseen | None, seed: int) -> Choice:
    """Keep what is best at known kinds and, where kinds are told apart, at new ones: by the mean of both."""
    if min(known.label.sum(), len(known.label) - known.label.sum()) < FEWEST_BAD:
        return Choice("contrast", f"fewer than {FEWEST_BAD} labels are known, so nothing could be measured", {}, {})
    at_known = _measured(known, seed)
    at_new = {} if new is None else _measured(new, seed)
    score = {name: (m.value + at_new[name].value) / 2 if at_new else m.value for name, m in at_known.items()}
    kept = max((name for name in score if name != YARDSTICK), key=lambda name: score[name])
    what = "of known and of new kinds, in the mean" if at_new else "of the kinds that are known"
    better = f"; an {TITLE} ranks them better still" if score.get(YARDSTICK, 0.0) > score[kept] else ""
    return Choice(kept, f"it ranks bad records best, {what}{better}", at_known, at_new)


def _measured(unseen: Unseen, seed: int) -> dict[str, Measured]:
    draws = Draws.of(len(unseen.label), seed, resamples=DRAWS)
    return {
        name: measure_drawn(unseen.label, margin, unseen.weight, draws)[METRIC]
        for name, margin in unseen.margins.items()
    }


def scaled(booster: xgb.Booster, a: float, b: float) -> xgb.Booster:
    """Return a forest whose margin is a * margin + b: leaves and starting value are changed, splits are not."""
    raw: dict[str, Any] = json.loads(booster.save_raw("json"))
    start = raw["learner"]["learner_model_param"]
    share = float(start["base_score"].strip("[]"))
    margin = a * math.log(share / (1 - share)) + b
    start["base_score"] = f"[{1 / (1 + math.exp(-margin))!r}]"
    for tree in raw["learner"]["gradient_booster"]["model"]["trees"]:
        for node, left in enumerate(tree["left_children"]):
            tree["base_weights"][node] *= a
            if left == -1:
                tree["split_conditions"][node] *= a
    found = xgb.Booster()
    found.load_model(bytearray(json.dumps(raw).encode()))
    return found


def _against_reference(sample: Sample, spread: float, rng: np.random.Generator) -> Sample:
    reference = reference_sample(sample.matrix, spread, rng)
    label = np.repeat(np.array([0.0, 1.0]), len(reference))
    return Sample(np.concatenate([sample.matrix, reference]), label, np.tile(sample.weight, 2))
