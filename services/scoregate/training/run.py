"""Training one service: load → split → fit → calibrate → evaluate → golden requests → artefact."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scoregate import catalog
from scoregate.models.forest import Forest
from scoregate.policy import Policy
from scoregate.settings import Settings
from scoregate.training import Problem, artefact, describe
from scoregate.training.card import Figures, card, title
from scoregate.training.dataset import Dataset, Ints, build
from scoregate.training.evaluate import Measured, measure_with_intervals
from scoregate.training.fit import fit, isolation_forest
from scoregate.training.vectors import Floats

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trained:
    """An accepted model: its version, the headline metric with its 95 % interval, all metrics by name."""

    service: str
    version: str
    metric_name: str
    metric: float
    low: float
    high: float
    path: Path
    champion: bool
    metrics: dict[str, Measured]


def train(service: str, settings: Settings, on_progress: Say, *, promote: bool = False) -> Trained:
    """Train a service's model from the data in `settings.home`, and write its artefact.

    It becomes the champion when there is none, or when `promote` says so.
    """
    module = catalog.part(service, "train")
    problem: Problem = module.PROBLEM
    names: tuple[str, ...] = tuple(catalog.part(service, "features").FEATURES)
    policy_text = Path(str(module.__file__)).with_name("policy.toml").read_text()
    policy = Policy.from_toml(policy_text)
    policy.check(names)
    began = time.monotonic()

    def say(what: str) -> None:
        on_progress(f"{service}: {what} ({time.monotonic() - began:.0f} s)")

    data = build(service, problem, settings, say)
    fitted = fit(problem, data, names, settings.seed, say)
    score = Forest.from_bytes(fitted.ubj, fitted.a, fitted.b).predict(data.matrix.astype(np.float32))
    metrics = _evaluate(problem, data, score, settings.seed)
    outcome = outcomes(policy, data, names, score)
    say(f"evaluated on {int(data.test.sum()):,} records that training has not seen, with 95 % intervals")
    for name, measured in metrics.items():
        on_progress(f"{service}:   {title(name):<34} {measured}")

    test = data.test
    feature_service = problem.feature_service(service)
    signature = describe.signature(service, feature_service, data, names, fitted, outcome, settings.seed)
    shares = describe.shares(policy, outcome[test], data.weight[test])
    figures = Figures(
        service=service,
        feature_service=feature_service,
        objective=problem.objective,
        metrics=metrics,
        shares=shares,
        training=signature["training"],
        tested={**describe.period(data, test), "rows": int(test.sum()), "bad": int(data.label[test].sum())},
        rounds=fitted.rounds,
    )
    headline, headline_name = metrics[problem.headline], title(problem.headline)
    request_type = catalog.part(service, "contract").Request
    files = {
        "model.ubj": fitted.ubj,
        "signature.json": artefact.as_bytes(signature),
        "policy.toml": policy_text.encode(),
        "reference.json": artefact.as_bytes(describe.reference(data, names, score, shares)),
        "golden.json": artefact.as_bytes(describe.golden(data, request_type, score, outcome, policy)),
        "metrics.json": artefact.as_bytes(
            {"headline": {"name": headline_name, **asdict(headline)}, **{n: asdict(m) for n, m in metrics.items()}}
        ),
        "card.md": card(figures).encode(),
    }
    models = settings.models(service)
    folder = artefact.write(models, files)
    champion = artefact.promote(models, folder, replace=promote)
    say(f"wrote {folder.name}")
    return Trained(
        service=service,
        version=folder.name,
        metric_name=headline_name,
        metric=headline.value,
        low=headline.low,
        high=headline.high,
        path=folder,
        champion=champion,
        metrics=metrics,
    )


def outcomes(policy: Policy, data: Dataset, names: tuple[str, ...], score: Floats) -> Ints:
    """Return the rank of the outcome that the policy gives each record."""
    return np.array(
        [
            policy.decide(one, dict(zip(names, vector, strict=True)), missing).outcome.rank
            for one, vector, missing in zip(score.tolist(), data.matrix.tolist(), data.missing(), strict=True)
        ],
        dtype=np.int64,
    )


def _evaluate(problem: Problem, data: Dataset, score: Floats, seed: int) -> dict[str, Measured]:
    test = data.test
    groups = data.rows[problem.group].to_numpy(zero_copy_only=False)[test].tolist() if problem.group else None
    label, weight = data.label[test], data.weight[test]
    metrics = measure_with_intervals(label, score[test], seed=seed, weight=weight, groups=groups)
    if problem.objective == "contrast":
        other = measure_with_intervals(label, isolation_forest(data, seed), seed=seed, weight=weight, groups=groups)
        metrics["isolation_forest_average_precision"] = other["average_precision"]
    return metrics
