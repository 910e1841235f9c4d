"""kyc's average precision against an isolation forest's: on the generator's truth, and on kinds absent from training.

    SCOREGATE_HOME=/tmp/home python loadtest/anomalies.py --json

Reads a home that `scoregate features load` prepared. For each kind of bad application every record of it is taken out
of training, and the test is on that kind and the honest. The difference is paired: the same resamples for both.
It holds when kyc is better on the whole truth and on two absent kinds at least, with the whole interval.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from scoregate import catalog
from scoregate.models.forest import Forest
from scoregate.settings import Settings
from scoregate.training.contrast import isolation
from scoregate.training.dataset import Dataset, build
from scoregate.training.evaluate import _Sweep
from scoregate.training.fit import fit
from scoregate.training.resample import Draws, Measured

METRIC = "average_precision"


def without(data: Dataset, kind: str | None) -> Dataset:
    """Return the records without a kind in training, and in the test without the others."""
    kinds = np.array([one or "" for one in data.rows["kind"].to_pylist()])
    keep = np.ones(len(kinds), bool) if kind is None else np.where(data.test, np.isin(kinds, ["", kind]), kinds != kind)
    arrays = {name: getattr(data, name)[keep] for name in ("matrix", "label", "learned", "ripe", "weight", "fold")}
    return replace(data, rows=data.rows.filter(keep), views=data.views.filter(keep), **arrays)


def compare(data: Dataset, seed: int) -> dict[str, Any]:
    """Fit as `scoregate train kyc` does, and measure both on the test records."""
    names = tuple(catalog.part("kyc", "features").FEATURES)
    fitted = fit(catalog.part("kyc", "train").PROBLEM, data, names, seed, lambda _: None)
    matrix = data.matrix.astype(np.float32)
    score = Forest.from_bytes(fitted.ubj, fitted.a, fitted.b).predict(matrix[data.test])
    (other,) = isolation(matrix[data.train], seed, matrix[data.test])
    label, weight = data.label[data.test], data.weight[data.test]
    sweeps = [_Sweep(label, one, weight) for one in (score, other)]
    drawn = [
        [sweep.measure(times[sweep.order])[METRIC] for sweep in sweeps] for times in Draws.of(len(label), seed).each()
    ]
    ours, theirs = np.array(drawn).T
    value = [sweep.measure()[METRIC] for sweep in sweeps]
    assert fitted.choice is not None
    return {
        "bad": int(label.sum()),
        "kept": fitted.choice.kept,
        "kyc": asdict(Measured.of(value[0], ours)),
        "isolation_forest": asdict(Measured.of(value[1], theirs)),
        "difference": asdict(Measured.of(value[0] - value[1], ours - theirs)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    asked = parser.parse_args()
    data = build("kyc", catalog.part("kyc", "train").PROBLEM, Settings(), lambda _: None)
    kinds = sorted({kind for kind in data.rows["kind"].to_pylist() if kind})
    found = {kind or "the whole truth": compare(without(data, kind), asked.seed) for kind in (None, *kinds)}
    if asked.json:
        print(json.dumps(found))
    else:
        for name, one in found.items():
            said = {key: Measured(**one[key]) for key in ("kyc", "isolation_forest", "difference")}
            print(f"{name:<22} {one['bad']:>4} bad, {one['kept']}: " + ", ".join(f"{k} {m}" for k, m in said.items()))
    better = [name for name, one in found.items() if one["difference"]["low"] > 0]
    return 0 if "the whole truth" in better and len(better) >= 3 else 1


if __name__ == "__main__":
    sys.exit(main())
