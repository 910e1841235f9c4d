"""From a fitted model to one that may be served: checks, gates, records and report around the training in run.py.

What takes long and is not fitting, a clerk does meanwhile in a process of its own (clerk.py).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scoregate import catalog
from scoregate.errors import ArtefactCorrupt, ScoregateError
from scoregate.models.artefact import CHAMPION, GOLDEN_TOLERANCE, Artefact
from scoregate.settings import Settings
from scoregate.training import checks, clerk, drift, evidence, gates, registry
from scoregate.training.alone import alone, known_early
from scoregate.training.evaluate import METRICS
from scoregate.training.fit import Fitted
from scoregate.training.gates import Bounds, Found, Gate
from scoregate.training.imports import Material
from scoregate.training.resample import Measured
from scoregate.training.shelf import Shelf, sample
from scoregate.training.vectors import Floats

if TYPE_CHECKING:
    import pandas as pd


class Acceptance:
    """The acceptance of one training; a context, because the clerk ends with it."""

    def __init__(self, service: str, settings: Settings) -> None:
        self._service, self._settings = service, settings
        # Before minutes of work, and not after them.
        self._bounds = bounds_of(service)
        self._shelf = Shelf(settings.reports(service))
        self._clerk = ProcessPoolExecutor(1, get_context("spawn"), initializer=clerk.private)
        self._material: Material | None = None
        self._checks: Future[list[checks.Check]] | None = None
        self._drift: Future[Mapping[str, Any]] | None = None
        self._sample: pd.DataFrame | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._clerk.shutdown(cancel_futures=True)

    def receive(self, material: Material) -> None:
        """Take the records in: their checks begin, and Evidently's comparison with those of the previous training."""
        self._material = material
        # Not before: whoever brought a wrong file would wait for it to end.
        self._clerk.submit(clerk.prepare, self._settings)
        self._checks = self._clerk.submit(checks.run, self._door(material))
        self._sample = sample(material, self._settings.seed)
        if (previous := self._shelf.previous(self._champion())) is not None:
            self._drift = self._clerk.submit(clerk.compare, self._sample, previous, self._shelf.drift_page)

    def judge(
        self,
        fitted: Fitted,
        score: Floats,
        metrics: Mapping[str, Measured],
        details: Mapping[str, Any],
        golden: Sequence[Mapping[str, Any]],
    ) -> Found:
        """Put every gate, in order. All are put even if one fails: the evidence shall be whole."""
        assert self._material is not None
        assert self._checks is not None
        bounds, problem, names, data = self._bounds, self._material.problem, self._material.names, self._material.data
        test = data.test
        again = self._clerk.submit(clerk.golden_differences, fitted.ubj, fitted.a, fitted.b, golden)
        by_itself = alone(data, names)
        psi, score_psi = drift.of_features(data, names), drift.of_score(data, score)
        drawn = evidence.draws_of_periods(problem, data, test, self._settings.seed)
        label, weight = data.label[test], data.weight[test]
        calibration = (
            Gate.skipped("calibration", "the score assumes a share of anomalies, so it ranks and is no probability")
            if not fitted.is_probability
            else gates.calibration(metrics["ece"], label, score[test], weight, drawn, bounds)
        )
        against = (
            self._against_champion(self._material, fitted, score)
            if evidence.is_labelled(problem, data)
            else Gate.skipped("champion", "nothing is known to be bad, so nothing can be compared")
        )
        found = self._checks.result()
        return Found(
            [
                gates.data(found),
                gates.leakage(by_itself, known_early(data, problem), bounds),
                gates.floor(metrics, bounds),
                against,
                calibration,
                gates.fairness(details.get("fairness"), bounds),
                gates.stability(score_psi, psi, bounds),
                gates.golden(again.result(), GOLDEN_TOLERANCE),
            ],
            found,
            by_itself,
            psi,
            score_psi,
        )

    def _against_champion(self, material: Material, fitted: Fitted, score: Floats) -> Gate:
        folder = self._champion()
        if folder is None:
            return Gate.skipped("champion", "there is no champion")
        try:
            theirs = Artefact.load(folder)
        except ArtefactCorrupt as broken:
            return Gate.skipped("champion", f"the champion cannot be read: {broken.detail}")
        if (folder / "model.ubj").read_bytes() == fitted.ubj:
            # The champion trained again: what it was compared with then still holds, and it keeps its name.
            with contextlib.suppress(ScoregateError):
                return next(one for one in registry.gates_of(folder) if one.name == "champion")
            return Gate.skipped("champion", "there is no champion")
        problem, data = material.problem, material.data
        if theirs.signature.names != material.names:
            return Gate.skipped("champion", f"the champion {folder.name} has other features")
        test = data.test
        metric = problem.headline if problem.headline in METRICS else "average_precision"
        other = theirs.forest.predict(data.matrix[test].astype(np.float32))
        drawn = evidence.draws(problem, data, test, self._settings.seed)
        return gates.champion(
            metric, data.label[test], score[test], other, data.weight[test], drawn, self._bounds, folder.name
        )

    def record(
        self,
        folder: Path,
        found: Found,
        *,
        params: Mapping[str, Any],
        metrics: Mapping[str, Measured],
        lineage: Mapping[str, Any],
        replace: bool,
    ) -> bool:
        """Record the run, and make the artefact the champion if its gates passed and there is none, or `replace`.

        Return whether it is the champion now. A failed gate leaves the champion as it is.
        """
        figures = {
            f"{name}{end}": value
            for name, one in metrics.items()
            for end, value in (("", one.value), ("_low", one.low), ("_high", one.high))
            if np.isfinite(value)
        }
        current = self._champion()
        crowned = gates.passed(found.gates) and (current is None or replace)
        why = "trained with --promote" if current is not None else "the first model whose gates passed"
        self._clerk.submit(
            clerk.record, self._settings, self._service, folder, params, figures, lineage, why if crowned else None
        ).result()
        assert self._sample is not None
        self._shelf.keep(folder.name, self._sample)
        return crowned or current == folder

    def lineage(
        self, folder: Path, training: Mapping[str, Any], plan_digest: str, files: Mapping[str, bytes]
    ) -> dict[str, Any]:
        """Say what an artefact was made of, by what, when, and who read the data for it."""
        brought = json.loads(files.get("import.json", b"{}"))
        return {
            **{name: brought[name] for name in ("file_sha256", "map_sha256") if name in brought},
            "data_digest": training["data_digest"],
            "registry_digest": plan_digest,
            "code_version": training["code_version"],
            "read_by": registry.reader(),
            "trained_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            "artefact": str(folder.resolve()),
            "report": str(self._shelf.report(folder.name).resolve()),
        }

    def write_report(self, version: str, page: str) -> Path:
        """Write the page for people."""
        return self._shelf.write(version, page)

    def drifted(self, version: str) -> dict[str, Any] | None:
        """Return how the records differ from those of the previous training; None at the first."""
        return None if self._drift is None else self._shelf.named(version, self._drift.result())

    def _champion(self) -> Path | None:
        models = self._settings.models(self._service)
        try:
            folder = models / (models / CHAMPION).read_text().strip()
        except OSError:
            return None
        return folder if folder.is_dir() else None

    def _door(self, material: Material) -> checks.Door:
        import pandas as pd

        problem, data, request = material.problem, material.data, material.request_type
        every = problem.load(self._settings)
        wanted = [request.NATURAL_KEY, "event_at", problem.label, problem.known_at]
        fields = [name for name in request.model_fields if name in data.rows.column_names]
        low_high, known = checks.ranges(data.matrix[data.train], material.names)
        return checks.Door(
            records=every.select([name for name in wanted if name in every.column_names]).to_pandas(),
            requests=data.rows.select(fields).to_pandas(),
            features=pd.DataFrame(data.matrix[data.test], columns=list(material.names)),
            schema=request.model_json_schema(),
            key=request.NATURAL_KEY,
            label=problem.label,
            known_at=problem.known_at if problem.known_at in every.column_names else None,
            until=dt.datetime.now(dt.UTC),
            ranges=low_high,
            known=known,
        )


def bounds_of(service: str) -> Bounds:
    """Read the `gates.toml` of a service; the library's own bounds without one."""
    path = Path(str(catalog.part(service, "train").__file__)).with_name("gates.toml")
    return Bounds.from_toml(path.read_text()) if path.exists() else Bounds()
