"""From a fitted model to one that may be served: checks, gates, records and report around the training in run.py.

Great Expectations, MLflow and Evidently cost seconds to import and are busy for a few more: they work in a process of
their own (the clerk) while the forest is fitted, which takes one core.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np

from scoregate import catalog
from scoregate.errors import ArtefactCorrupt, ScoregateError
from scoregate.models.artefact import CHAMPION, GOLDEN_TOLERANCE, Artefact
from scoregate.settings import Settings, quiet_libraries
from scoregate.training import checks, drift, evidence, gates, registry
from scoregate.training.alone import alone, known_early
from scoregate.training.evaluate import METRICS
from scoregate.training.fit import Fitted
from scoregate.training.gates import Bounds, Found, Gate
from scoregate.training.imports import Material
from scoregate.training.resample import Measured
from scoregate.training.vectors import Floats

if TYPE_CHECKING:
    import pandas as pd

SAMPLE: Final = 5_000
"""Training records kept for the next training's report on drift."""


class Acceptance:
    """The acceptance of one training; a context, because the clerk ends with it."""

    def __init__(self, service: str, settings: Settings) -> None:
        self._service, self._settings = service, settings
        # Before minutes of work, and not after them.
        self._bounds = bounds_of(service)
        self._clerk = ProcessPoolExecutor(1, get_context("spawn"), initializer=_private)
        self._ready = self._clerk.submit(_open, settings)
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

    @property
    def _reports(self) -> Path:
        return self._settings.reports(self._service)

    def receive(self, material: Material) -> None:
        """Take the records in: their checks begin, and Evidently's comparison with those of the previous training."""
        self._material = material
        self._checks = self._clerk.submit(checks.run, self._door(material))
        self._sample = _sample(material, self._settings.seed)
        if (previous := self._previous()) is not None:
            self._drift = self._clerk.submit(_drift, self._sample, previous, self._reports / ".drift.html")

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
        again = self._clerk.submit(_golden_differences, fitted.ubj, fitted.a, fitted.b, golden)
        by_itself = alone(data, names)
        psi, score_psi = drift.of_features(data, names), drift.of_score(data, score)
        drawn = evidence.draws(problem, data, test, self._settings.seed)
        label, weight = data.label[test], data.weight[test]
        calibration = (
            Gate.skipped("calibration", "the score assumes a share of anomalies, so it ranks and is no probability")
            if problem.objective == "contrast"
            else gates.calibration(metrics["ece"], label, score[test], weight, drawn, bounds)
        )
        found = self._checks.result()
        return Found(
            [
                gates.data(found),
                gates.leakage(by_itself, known_early(data, problem), bounds),
                gates.floor(metrics, bounds),
                self._against_champion(self._material, fitted, score),
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
            _record, self._settings, self._service, folder, params, figures, lineage, why if crowned else None
        ).result()
        self._keep_sample(folder.name)
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
            "report": str(self.report_path(folder.name).resolve()),
        }

    def report_path(self, version: str) -> Path:
        return self._reports / f"{version}.html"

    def write_report(self, version: str, page: str) -> Path:
        """Write the page for people, for its owner alone."""
        path = self.report_path(version)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        path.write_text(page)
        return path

    def drifted(self, version: str) -> dict[str, Any] | None:
        """Return how the records differ from those of the previous training; None at the first.

        Evidently's own page is kept beside the report, under the `page` that is named.
        """
        if self._drift is None:
            return None
        found = dict(self._drift.result())
        page = self._reports / ".drift.html"
        if page.exists():
            found["page"] = f"{version}-drift.html"
            page.replace(self._reports / found["page"])
        return found

    def _champion(self) -> Path | None:
        models = self._settings.models(self._service)
        try:
            folder = models / (models / CHAMPION).read_text().strip()
        except OSError:
            return None
        return folder if folder.is_dir() else None

    def _previous(self) -> Path | None:
        """Return the sample of the champion's training, else of the last one."""
        samples = sorted(self._reports.glob("*.parquet"), key=lambda path: path.stat().st_mtime)
        champion = self._champion()
        return next((s for s in samples if champion and s.stem == champion.name), samples[-1] if samples else None)

    def _keep_sample(self, version: str) -> None:
        assert self._sample is not None
        self._reports.mkdir(parents=True, exist_ok=True, mode=0o700)
        place = self._reports / f"{version}.parquet"
        self._sample.to_parquet(place)
        place.chmod(0o600)

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


def _sample(material: Material, seed: int) -> pd.DataFrame:
    """Return training records as often as they stand for others."""
    import pandas as pd

    data = material.data
    place = np.flatnonzero(data.train)
    weight = data.weight[place]
    rng = np.random.default_rng([seed, 4])
    chosen = rng.choice(place, min(SAMPLE, len(place)), p=weight / weight.sum())
    return pd.DataFrame(data.matrix[chosen], columns=list(material.names))


def _private() -> None:
    os.umask(0o077)


def _open(settings: Settings) -> None:
    """Do beforehand what takes longest: both imports, and MLflow's tables."""
    quiet_libraries()
    import great_expectations  # noqa: F401  imported for the checks to come

    registry.Registry(settings)


def _drift(current: pd.DataFrame, previous: Path, html: Path) -> Mapping[str, Any]:
    import pandas as pd

    return {"previous": previous.stem, **drift.compare(current, pd.read_parquet(previous), html)}


def _golden_differences(ubj: bytes, a: float, b: float, golden: Sequence[Mapping[str, Any]]) -> list[float]:
    from scoregate.models.forest import Forest

    vectors = [[np.nan if value is None else value for value in one["vector"]] for one in golden]
    if not vectors:
        return []
    again = Forest.from_bytes(ubj, a, b).predict(np.array(vectors, np.float32))
    return [abs(float(score) - one["score"]) for score, one in zip(again, golden, strict=True)]


def _record(
    settings: Settings,
    service: str,
    folder: Path,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    lineage: Mapping[str, Any],
    crown: str | None,
) -> None:
    books = registry.Registry(settings)
    books.record(service, folder, params=params, metrics=metrics, lineage=lineage)
    if crown is not None:
        books.crown(service, folder.name, registry.reader(), crown)
