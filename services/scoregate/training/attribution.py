"""How far the contributions that serving explains by differ from another reading of the same forest.

Serving asks what a feature adds when the unknown ones go the way of the training records (path-dependent). The
interventional reading draws the unknown ones from a background of records instead, whatever goes with what; shap
computes it. Neither is the truth of the other, so differences are reported and not judged.

    python -m scoregate.training.attribution credit
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Final

import numpy as np

from scoregate import catalog
from scoregate.models import Matrix, Scores
from scoregate.models.artefact import Artefact, champion
from scoregate.models.reasons import Explainer
from scoregate.policy import Evidence, Policy
from scoregate.settings import Settings
from scoregate.values import frozen

BACKGROUND_ROWS: Final = 1_000
"""Records that the interventional reading draws from: its cost is the rows explained times these."""

PART_ROWS: Final = 100


@frozen
class Differences:
    """Differences of the contributions to the log-odds over some records.

    `mean` and `largest` are absolute differences of one contribution, `size` is the mean absolute contribution.
    `same_first` is the share of records with the same largest contribution; the two on reasons are shares of records.
    """

    rows: int
    mean: float
    largest: float
    size: float
    correlation: float
    same_first: float
    same_first_reason: float
    same_reasons: float


@frozen
class _Read:
    """A forest that is read otherwise: contributions are given, everything else is its own."""

    artefact: Artefact
    given: Scores

    def predict(self, matrix: Matrix) -> Scores:
        return self.artefact.forest.predict(matrix)

    def contributions(self, matrix: Matrix) -> Scores:
        return self.given

    def falls(self, vector: Matrix, to: Matrix) -> Scores:
        return self.artefact.forest.falls(vector, to)


def interventional(ubj: bytes, slope: float, matrix: Matrix, background: Matrix) -> Scores:
    """Return shap's interventional contributions to the log-odds, shape (rows, features)."""
    import shap
    import xgboost as xgb

    booster = xgb.Booster({"nthread": 1})
    booster.load_model(bytearray(ubj))
    # An array alone would be thinned to a hundred records in silence.
    masker = shap.maskers.Independent(background, max_samples=len(background))
    explainer = shap.TreeExplainer(booster, data=masker, feature_perturbation="interventional")
    # In parts: what takes longer than ten seconds draws a progress bar over the caller's output.
    parts = [matrix[at : at + PART_ROWS] for at in range(0, len(matrix), PART_ROWS)]
    return slope * np.concatenate([explainer.shap_values(part, check_additivity=False) for part in parts])


def differences(
    artefact: Artefact, groups: Mapping[str, Sequence[Evidence]], matrix: Matrix, other: Scores
) -> Differences:
    """Compare the contributions of serving with others of the same records."""
    ours = artefact.forest.contributions(matrix)
    scores = artefact.forest.predict(matrix)
    explainer = Explainer(artefact.forest, artefact.signature, groups)
    mine, theirs = [], []
    for i in range(len(matrix)):
        vector, score = matrix[i : i + 1], float(scores[i])
        mine.append(explainer.reasons(vector, score))
        read = Explainer(_Read(artefact, other[i : i + 1]), artefact.signature, groups)
        theirs.append(read.reasons(vector, score))
    pairs = list(zip(mine, theirs, strict=True))
    return Differences(
        rows=len(matrix),
        mean=float(np.abs(ours - other).mean()),
        largest=float(np.abs(ours - other).max()),
        size=float(np.abs(ours).mean()),
        correlation=float(np.corrcoef(ours.ravel(), other.ravel())[0, 1]),
        same_first=float((ours.argmax(axis=1) == other.argmax(axis=1)).mean()),
        same_first_reason=float(np.mean([a[:1] == b[:1] for a, b in pairs])),
        same_reasons=float(np.mean([set(a) == set(b) for a, b in pairs])),
    )


def compare(artefact: Artefact, ubj: bytes, matrix: Matrix, *, seed: int, rows: int = 1_000) -> Differences:
    """Compare over up to `rows` records of those that get reasons, against a background of all of them."""
    policy = Policy.from_toml(artefact.policy)
    rng = np.random.default_rng([seed, 9])
    background = matrix[rng.choice(len(matrix), min(BACKGROUND_ROWS, len(matrix)), replace=False)]
    names = artefact.signature.names
    scores = artefact.forest.predict(matrix)
    harsh = [
        i
        for i, (score, vector) in enumerate(zip(scores.tolist(), matrix.tolist(), strict=True))
        if policy.decide(score, dict(zip(names, vector, strict=True)), []).outcome.rank > 0
    ]
    taken = matrix[rng.permutation(harsh)[:rows]]
    other = interventional(ubj, artefact.signature.calibrator[0], taken, background)
    return differences(artefact, policy.groups, taken, other)


def main() -> None:
    """Compare a service's champion over the records that it was trained and tested on, and print the figures."""
    from scoregate.training.dataset import build

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("service", choices=catalog.services())
    service, settings = parser.parse_args().service, Settings()
    folder = champion(settings.models(service))
    data = build(service, catalog.part(service, "train").PROBLEM, settings, lambda what: print(what, file=sys.stderr))
    ubj = (folder / "model.ubj").read_bytes()
    found = compare(Artefact.load(folder), ubj, data.matrix.astype(np.float32), seed=settings.seed)
    print(json.dumps(asdict(found), indent=1))


if __name__ == "__main__":
    main()
