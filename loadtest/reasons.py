"""What reasons promise, on a real champion: moving a named feature alone to the approved median lowers the score.

    SCOREGATE_HOME=/tmp/home python loadtest/reasons.py credit --json

Reads a home with a champion and prepared data. Decisions are of its records and, until there are enough that have
reasons, of records in which some features are another one's. They are scored again by XGBoost itself, which serving
does not use. Beside that, the difference to shap's interventional explainer is reported, and not judged.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
import xgboost as xgb

from scoregate import catalog
from scoregate.models import Matrix
from scoregate.models.artefact import Artefact, champion
from scoregate.models.reasons import Explainer
from scoregate.policy import Policy
from scoregate.settings import Settings
from scoregate.training.attribution import compare
from scoregate.training.dataset import build

MIXED = 0.1
"""Chance that a feature of a record that was made up is another record's."""


def vectors(matrix: Matrix, rng: np.random.Generator) -> Iterator[Matrix]:
    """Yield every record once, then mixed ones for ever."""
    yield from matrix[:, None]
    while True:
        one, other = matrix[rng.integers(len(matrix), size=2)]
        yield np.where(rng.random(len(one)) < MIXED, other, one)[None]


def broken(artefact: Artefact, booster: xgb.Booster, matrix: Matrix, decisions: int, seed: int) -> dict[str, int]:
    """Count decisions with reasons, the features that they name, and those whose median does not lower the score."""
    signature = artefact.signature
    explainer = Explainer(artefact.forest, signature, Policy.from_toml(artefact.policy).groups)
    median = {f.name: (place, f.median) for place, f in enumerate(signature.features)}
    before: list[Matrix] = []
    after: list[Matrix] = []
    found = 0
    for vector in vectors(matrix, np.random.default_rng([seed, 11])):
        named = [name for reason in explainer.explain(vector) for name in reason.features]
        for name in named:
            place, usual = median[name]
            changed = vector[0].copy()
            changed[place] = usual
            before.append(vector[0])
            after.append(changed)
        found += bool(named)
        if found == decisions:
            break
    slope = signature.calibrator[0]
    falls = slope * (_margins(booster, before) - _margins(booster, after))
    return {"decisions": found, "named_features": len(before), "exceptions": int((falls <= 0).sum())}


def _margins(booster: xgb.Booster, rows: list[Matrix]) -> Any:
    names = booster.feature_names
    return booster.predict(xgb.DMatrix(np.array(rows, np.float32), feature_names=names), output_margin=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("service", nargs="?", default="credit", choices=catalog.services())
    parser.add_argument("--decisions", type=int, default=10_000, help="decisions with reasons")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    asked = parser.parse_args()
    settings = Settings()
    folder = champion(settings.models(asked.service))
    artefact, ubj = Artefact.load(folder), (folder / "model.ubj").read_bytes()
    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(ubj))
    data = build(asked.service, catalog.part(asked.service, "train").PROBLEM, settings, lambda _: None)
    matrix = data.matrix.astype(np.float32)
    found: dict[str, Any] = broken(artefact, booster, matrix, asked.decisions, asked.seed)
    found["interventional"] = asdict(compare(artefact, ubj, matrix, seed=asked.seed, rows=500))
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<15} {value}" for name, value in found.items()))
    return 1 if found["exceptions"] else 0


if __name__ == "__main__":
    sys.exit(main())
