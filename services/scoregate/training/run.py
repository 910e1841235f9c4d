"""Training one service: load → split → fit → calibrate → evaluate → golden requests → artefact."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.models.forest import Forest
from scoregate.policy import Policy
from scoregate.settings import Settings
from scoregate.training import Problem, artefact, describe, evidence, streams
from scoregate.training.acceptance import Acceptance
from scoregate.training.approaches import approaches
from scoregate.training.card import Figures, card, title
from scoregate.training.dataset import Dataset, Ints, build
from scoregate.training.fit import fit
from scoregate.training.gates import Gate
from scoregate.training.imports import Material
from scoregate.training.registry import GATES
from scoregate.training.report import Page, importance, render
from scoregate.training.resample import Measured
from scoregate.training.vectors import Floats
from scoregate.values import frozen

Say = Callable[[str], None]

NOTHING = Measured(float("nan"), float("nan"), float("nan"))


@frozen
class Trained:
    """A trained model: its version, the headline metric with its 95 % interval, all metrics by name, the evidence.

    It is served only as the champion, and that only if its gates passed; `report` is the page for people.
    """

    service: str
    version: str
    metric_name: str
    metric: float
    low: float
    high: float
    path: Path
    champion: bool
    metrics: dict[str, Measured]
    details: dict[str, Any]
    gates: Sequence[Gate]
    report: Path


def train(
    service: str,
    settings: Settings,
    on_progress: Say,
    *,
    promote: bool = False,
    bring: Callable[[Say], Material] | None = None,
) -> Trained:
    """Train a service's model from the data in `settings.home`, or from what `bring` makes of somebody's own file.

    The artefact becomes the champion when its gates passed and there is none, or `promote` says so.
    """
    began = time.monotonic()

    def say(what: str) -> None:
        on_progress(f"{service}: {what} ({time.monotonic() - began:.0f} s)")

    with Acceptance(service, settings) as accept:
        material = bring(say) if bring else _own(service, settings, say)
        accept.receive(material)
        trained = _accepted(service, settings, material, accept, say, promote=promote)
    for gate in trained.gates:
        on_progress(f"{service}:   {gate.name:<12} {gate.status:<8} {gate.sentence}")
    return trained


def _accepted(
    service: str, settings: Settings, material: Material, accept: Acceptance, say: Say, *, promote: bool
) -> Trained:
    problem, names, data = material.problem, material.names, material.data
    policy = Policy.from_toml(material.policy)
    policy.check(names)
    fitted = fit(problem, data, names, settings.seed, say)
    forest = Forest.from_bytes(fitted.ubj, fitted.a, fitted.b)
    score = forest.predict(data.matrix.astype(np.float32))
    metrics = evidence.metrics(problem, data, score, settings)
    outcome, floor = outcomes(policy, data, names, score), outcomes(policy, data, names, np.zeros_like(score))
    details = evidence.details(problem, data, fitted, policy, names, score, floor, settings)
    details["outside"] = {"beyond": policy.beyond, "share": describe.share_outside(policy, data, names)}
    if fitted.choice is not None and metrics:
        details["approaches"] = approaches(problem, data, fitted, settings.seed)
        say(f"kept {fitted.choice.kept}: {fitted.choice.why}")
    say(f"evaluated on {int(data.test.sum()):,} records that training has not seen, with 95 % intervals")
    for name, measured in metrics.items():
        say(f"  {title(name):<34} {measured}")

    test = data.test
    feature_service = material.feature_service
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
        details=details,
    )
    headline, headline_name = metrics.get(problem.headline, NOTHING), title(problem.headline)
    golden = describe.golden(data, names, material.request_type, forest, score, outcome, policy)
    found = accept.judge(fitted, score, metrics, details, golden)
    files = {
        **material.files,
        GATES: artefact.as_bytes(found.as_json()),
        "model.ubj": fitted.ubj,
        "signature.json": artefact.as_bytes(signature),
        "policy.toml": material.policy.encode(),
        "reference.json": artefact.as_bytes(describe.reference(data, names, score, shares)),
        "golden.json": artefact.as_bytes(golden),
        "metrics.json": artefact.as_bytes(
            {
                **({"headline": {"name": headline_name, **asdict(headline)}} if metrics else {}),
                **{name: asdict(measured) for name, measured in metrics.items()},
                **details,
            }
        ),
        "card.md": card(figures).encode(),
    }
    folder = artefact.write(settings.models(service), files)
    lineage = accept.lineage(folder, signature["training"], data.plan.digest, material.files)
    params = {**problem.parameters, **signature["training"], "rounds": fitted.rounds, "objective": problem.objective}
    champion = accept.record(folder, found, params=params, metrics=metrics, lineage=lineage, replace=promote)
    page = Page(
        service=service,
        version=folder.name,
        found=found,
        metrics=metrics,
        details=details,
        label=data.label[test],
        score=score[test],
        weight=data.weight[test],
        importance=importance(forest, data, names, settings.seed),
        policy=policy,
        meanings=getattr(catalog.part(service, "features"), "MEANINGS", {}),
        lineage=lineage,
        drift=accept.drifted(folder.name),
        champion=champion,
    )
    report = accept.write_report(folder.name, render(page))
    say(f"wrote {folder.name}, and a report: {report}")
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
        details=details,
        gates=found.gates,
        report=report,
    )


def _own(service: str, settings: Settings, say: Say) -> Material:
    """Return what a service trains on by itself.

    Raises:
        ScoregateError: its days came from somebody's file, of whose windows no log was kept to join with.
    """
    days = settings.data / str(streams.hooks(service).get("STREAM", ""))
    if streams.is_imported(days):
        raise ScoregateError(
            f"{service}'s days are those of a file: train on it again (--columns MAP.toml and the file), "
            f"or delete {days} to go back to generated ones"
        )
    module = catalog.part(service, "train")
    problem: Problem = module.PROBLEM
    names = tuple(catalog.part(service, "features").FEATURES)
    policy = Path(str(module.__file__)).with_name("policy.toml").read_text()
    # Before minutes of work, and not after them.
    Policy.from_toml(policy).check(names)
    return Material(
        problem=problem,
        names=names,
        policy=policy,
        feature_service=problem.feature_service(service),
        request_type=catalog.part(service, "contract").Request,
        data=build(service, problem, settings, say),
    )


def outcomes(policy: Policy, data: Dataset, names: tuple[str, ...], score: Floats) -> Ints:
    """Return the rank of the outcome that the policy gives each record."""
    outside = describe.outside(policy, data, names)
    records = zip(score.tolist(), data.matrix.tolist(), data.missing(), strict=True)
    return np.array(
        [
            policy.decide(one, dict(zip(names, vector, strict=True)), missing, outside.get(i, ())).outcome.rank
            for i, (one, vector, missing) in enumerate(records)
        ],
        dtype=np.int64,
    )
