"""Where reports of a service lie, and beside each the sample that the next training's records are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scoregate.training.imports import Material
from scoregate.values import frozen

if TYPE_CHECKING:
    import pandas as pd

SAMPLE: Final = 5_000
"""Training records kept for the next training's report on drift."""


@frozen
class Shelf:
    """The reports of one service."""

    folder: Path

    @property
    def drift_page(self) -> Path:
        """Where Evidently writes its page before the version has a name."""
        return self.folder / ".drift.html"

    def report(self, version: str) -> Path:
        return self.folder / f"{version}.html"

    def write(self, version: str, page: str) -> Path:
        """Write the page for people, for its owner alone."""
        self._make()
        path = self.report(version)
        path.touch(mode=0o600)
        path.write_text(page)
        return path

    def keep(self, version: str, sample: pd.DataFrame) -> None:
        self._make()
        place = self.folder / f"{version}.parquet"
        sample.to_parquet(place)
        place.chmod(0o600)

    def previous(self, champion: Path | None) -> Path | None:
        """Return the sample of the champion's training, else of the last one."""
        samples = sorted(self.folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime)
        of_champion = (sample for sample in samples if champion and sample.stem == champion.name)
        return next(of_champion, samples[-1] if samples else None)

    def named(self, version: str, drift: Mapping[str, Any]) -> dict[str, Any]:
        """Put Evidently's own page beside the report, under the `page` that is named."""
        if not self.drift_page.exists():
            return dict(drift)
        page = f"{version}-drift.html"
        self.drift_page.replace(self.folder / page)
        return {**drift, "page": page}

    def _make(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)


def sample(material: Material, seed: int) -> pd.DataFrame:
    """Return training records as often as they stand for others."""
    import pandas as pd

    data = material.data
    place = np.flatnonzero(data.train)
    weight = data.weight[place]
    rng = np.random.default_rng([seed, 4])
    chosen = rng.choice(place, min(SAMPLE, len(place)), p=weight / weight.sum())
    return pd.DataFrame(data.matrix[chosen], columns=list(material.names))
