"""What the velocity features are worth: fraud's average precision with and without them, on the same split.

    python loadtest/velocity.py --json

Trains twice from a home that `make up` has prepared (`--home` for another one), and writes nothing into it: the same
records, split, parameters and seed, once with every feature and once without those that come from tiles. Each forest
stops by itself. The difference is of the same test records and the same resamples of whole accounts.
The exit code is 1 when the interval of the difference does not lie above zero.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.models.forest import Forest
from scoregate.settings import Settings
from scoregate.training import Problem, evidence
from scoregate.training.dataset import Dataset, build
from scoregate.training.evaluate import measure
from scoregate.training.fit import fit
from scoregate.training.resample import Measured

METRIC = "average_precision"
SAMPLED = 300
_GONE = ViewRow({}, Status.MISSING, None, known=False)


def from_tiles(service: str, data: Dataset, names: tuple[str, ...]) -> list[str]:
    """Return the features that change when the tiles of a request cannot be read."""
    vector, request_type = catalog.part(service, "features").vector, catalog.part(service, "contract").Request
    tiles = {view.name for view in data.plan.views if view.kind == "tiles"}
    changed = np.zeros(len(names), np.bool_)
    for i in np.linspace(0, len(data.label) - 1, SAMPLED).astype(int).tolist():
        request, row = data.request(request_type, i), data.row(i)
        blind = FeatureRow({name: _GONE if name in tiles else view for name, view in row.views.items()}, row.entities)
        seen, unseen = (vector(request, each, request.event_at.timestamp()) for each in (row, blind))
        changed |= [not _same(a, b) for a, b in zip(seen, unseen, strict=True)]
    return [name for name, one in zip(names, changed, strict=True) if one]


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def score(problem: Problem, data: Dataset, names: tuple[str, ...], kept: list[str], seed: int) -> tuple[Any, int]:
    """Fit on some features alone; return the scores of the test records, and the rounds."""
    columns = [names.index(name) for name in kept]
    part = replace(data, matrix=data.matrix[:, columns])
    fitted = fit(problem, part, tuple(kept), seed, _say)
    forest = Forest.from_bytes(fitted.ubj, fitted.a, fitted.b)
    return forest.predict(part.matrix[data.test].astype(np.float32)), fitted.rounds


def compare(settings: Settings, service: str = "fraud") -> dict[str, Any]:
    """Train and measure both; all intervals are 95 %."""
    problem: Problem = catalog.part(service, "train").PROBLEM
    names = tuple(catalog.part(service, "features").FEATURES)
    data = build(service, problem, settings, _say)
    velocity = from_tiles(service, data, names)
    kept = {"with": list(names), "without": [name for name in names if name not in velocity]}
    found = {which: score(problem, data, names, some, settings.seed) for which, some in kept.items()}

    label, weight = data.label[data.test], data.weight[data.test]
    drawn: NDArray[np.float64] = np.array(
        [
            [measure(label, scores, weight * times)[METRIC] for scores, _ in found.values()]
            for times in evidence.draws(problem, data, data.test, settings.seed).each()
        ]
    )
    value = [measure(label, scores, weight)[METRIC] for scores, _ in found.values()]
    figures = [Measured.of(*each) for each in zip(value, drawn.T, strict=True)]
    return {
        "features": {which: len(some) for which, some in kept.items()},
        "rounds": {which: rounds for which, (_, rounds) in found.items()},
        "velocity": velocity,
        "train": {"records": int(data.train.sum()), "fraud": int(data.label[data.train].sum())},
        "test": {
            "records": int(data.test.sum()),
            "fraud": int(label.sum()),
            "share": float(np.average(label, weights=weight)),
        },
        METRIC: {
            **{which: asdict(one) for which, one in zip(found, figures, strict=True)},
            "difference": asdict(Measured.of(value[0] - value[1], drawn[:, 0] - drawn[:, 1])),
        },
    }


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, help="state folder with prepared data (default: that of the settings)")
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    settings = Settings(home=asked.home) if asked.home else Settings()
    began_s = time.perf_counter()
    try:
        found = compare(settings)
    except ScoregateError as problem:
        _say(str(problem))
        return 1
    took_s = round(time.perf_counter() - began_s, 1)
    figures = found[METRIC]
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "seconds": took_s, **found}, indent=2))
    else:
        test = found["test"]
        print(f"{test['records']:,} test records, {test['fraud']:,} fraud ({test['share']:.2%} of what they stand for)")
        for which in ("with", "without"):
            what = f"{which} velocity features, {found['features'][which]}"
            print(f"average precision {what:<35} {Measured(**figures[which])}")
        print(f"difference, same resamples {'':<26} {Measured(**figures['difference'])}")
        print(f"{took_s:.0f} s, load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 0 if figures["difference"]["low"] > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
