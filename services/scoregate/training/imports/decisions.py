"""The ledger's own decisions: trained on the vectors that were decided on, with the labels that have come since.

Nothing is joined, so nothing can be seen that serving did not see. What is known of a decision:
    labelled                       as the label says
    let through, no label          good, where bad ones become known by themselves (`Problem.known_at`)
    anything harsher, no label     nothing: nobody knows what would have become of it, so it is left out
The last days are left out as a whole: of those only what is bad may be known by now.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pyarrow as pa

from scoregate import catalog
from scoregate.deciding import Notes
from scoregate.errors import ScoregateError
from scoregate.features import FeatureRow
from scoregate.ledger import Entry
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.history import History, Label
from scoregate.ledger.places import url_of
from scoregate.models.artefact import Artefact, champion
from scoregate.policy import Policy
from scoregate.scoring.goldens import row_of
from scoregate.settings import Settings
from scoregate.training import ByTime, Problem
from scoregate.training.dataset import DAY_US, Dataset, _learned, _sample
from scoregate.training.imports import Material, Say, leak
from scoregate.training.imports.days import Period, choose
from scoregate.training.imports.events import check_labels, compromised
from scoregate.values import frozen

WHAT: Final = "the ledger"
_US: Final = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True, slots=True, eq=False)
class Logged(Dataset):
    """Decisions as they were made. Of a request the ledger keeps no more than hashes, so goldens are the champion's."""

    gone: Sequence[list[str]]
    golden: Sequence[Mapping[str, Any]]

    def missing(self) -> list[list[str]]:
        return list(self.gone)

    def examples(self, request_type: Any, chosen: Sequence[int]) -> Iterator[tuple[Any, FeatureRow, list[float]]]:
        """Yield the champion's golden requests, whichever were chosen."""
        for one in self.golden:
            vector = [math.nan if value is None else value for value in one["vector"]]
            yield request_type.model_validate_json(json.dumps(one["request"])), row_of(one), vector


@frozen
class Known:
    """A decision, and what became of it as far as that is known."""

    entry: Entry
    label: Label | None


def material(service: str, period: Period, settings: Settings, say: Say) -> Material:
    """Make a dataset of a service's decisions.

    Raises:
        ScoregateError: there are too few of them, or none whose outcome is known, or the champion asks other features.
    """
    artefact = Artefact.load(champion(settings.models(service)))
    problem: Problem = catalog.part(service, "train").PROBLEM
    names = tuple(catalog.part(service, "features").FEATURES)
    if artefact.signature.names != names:
        raise ScoregateError(f"{service}'s champion was trained on a file's own columns: train on that file again")
    usual = problem.split if isinstance(problem.split, ByTime) else ByTime(train_days=365, gap_days=0, test_days=90)
    delay_days = usual.gap_days if period.delay_days is None else period.delay_days

    every = list(known(service, artefact, problem, settings, say))
    ripe_us = max((one.entry.event_at for one in every), default=0.0) * 1e6 - delay_days * DAY_US
    ripe = sorted((one for one in every if one.entry.event_at * 1e6 <= ripe_us), key=lambda one: one.entry.event_at)
    if not ripe:
        raise ScoregateError(f"no decision of {service} is {delay_days} days old, which is when its label has come")
    say(f"{len(ripe):,} of {len(every):,} decisions of which it is known what became of them are old enough")

    rows = _rows(ripe, problem)
    at_us = np.asarray(rows["event_at"].cast(pa.int64()).to_numpy(), np.int64)
    split = replace(usual, gap_days=delay_days)
    days = choose(at_us, period, split, WHAT)
    problem = replace(problem, load=lambda _: rows, split=split, kind=None, linked=None, protected=None)
    fold = days.fold(at_us, split.folds)
    if problem.group and problem.known_at:
        fold = np.where(compromised(rows, at_us, problem, days.train_us) & (fold == -1), -2, fold)
    check_labels(rows, fold, problem, WHAT)
    say(str(days))

    kept, weight = _sample(rows, fold, problem, settings)
    some, fold = rows.take(pa.array(kept)), fold[kept]
    entries = [ripe[i].entry for i in kept.tolist()]
    matrix = np.frombuffer(b"".join(one.vector for one in entries), "<f8").reshape(len(entries), len(names))
    label = np.asarray(some[problem.label].to_numpy(zero_copy_only=False), np.int64)
    leak.check(dict(zip(names, matrix[fold >= 0].T, strict=True)), label[fold >= 0], WHAT)
    learned, share = _learned(some, fold, label, problem)
    return Material(
        problem=problem,
        names=names,
        policy=artefact.policy,
        feature_service=artefact.signature.feature_service,
        request_type=catalog.part(service, "contract").Request,
        data=Logged(
            plan=artefact.signature.plan,
            rows=some,
            views=pa.table({}),
            matrix=matrix,
            label=label,
            learned=learned,
            ripe=share,
            weight=weight,
            fold=fold,
            turns=tuple(range(split.folds)),
            gone=[_gone(one) for one in entries],
            golden=artefact.golden,
        ),
    )


def known(service: str, artefact: Artefact, problem: Problem, settings: Settings, say: Say) -> Iterator[Known]:
    """Yield the decisions on the champion's features of which it is known what became of them."""
    mildest = Policy.from_toml(artefact.policy).outcomes[0].name
    cipher = FieldCipher.load(settings.ledger_key_file)
    asked = 0
    with History(url_of(settings, service), service, cipher) as history:
        for page in history.pages():
            entries = [
                one.entry
                for one in page
                if not one.forgotten
                and one.entry.source == "model"
                and one.entry.feature_digest == artefact.signature.plan.digest
            ]
            labels = history.labels([one.natural_key for one in entries])
            for entry in entries:
                label = labels.get(entry.natural_key)
                if label or (problem.known_at and entry.outcome == mildest):
                    yield Known(entry, label)
            asked += len(page)
            if asked % 100_000 < len(page):
                say(f"read {asked:,} decisions")


def _rows(decisions: Sequence[Known], problem: Problem) -> pa.Table:
    """Return what training asks of records beside their vectors."""
    bad = [one.label is not None and one.label.is_bad for one in decisions]
    columns = {
        "event_at": pa.array([round(one.entry.event_at * 1e6) for one in decisions], _US),
        problem.label: pa.array(bad),
    }
    if problem.known_at:
        since = [one.label.known_us if one.label and one.label.is_bad else None for one in decisions]
        columns[problem.known_at] = pa.array(since, _US)
    if problem.group:
        entries = [one.entry for one in decisions]
        columns[problem.group] = pa.array([one.personal.get(problem.group, one.natural_key) for one in entries])
    return pa.table(columns)


def _gone(entry: Entry) -> list[str]:
    notes = Notes.of(json.loads(entry.ages))
    return [*notes.stale, *notes.missing]
