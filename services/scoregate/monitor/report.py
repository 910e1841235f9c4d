"""Evidently's page: the newest decisions against a sample that is drawn from the artefact's reference."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scoregate.ledger.archive import Wanted, open_archive
from scoregate.ledger.cipher import FieldCipher
from scoregate.models.artefact import Artefact
from scoregate.monitor.tally import FEATURE, SCORE, Counts, Reference
from scoregate.settings import Settings
from scoregate.training.drift import compare

if TYPE_CHECKING:
    import pandas as pd

ROWS: Final = 5_000


def write(settings: Settings, artefact: Artefact, reference: Reference, html: Path) -> None:
    """Write the page; importing what makes it takes seconds."""
    import pandas as pd

    current = pd.DataFrame(_newest(settings, artefact, reference))
    compare(current, _drawn(reference), html)


def _newest(settings: Settings, artefact: Artefact, reference: Reference) -> dict[str, Any]:
    service, cipher = artefact.signature.service, FieldCipher.load(settings.ledger_key_file)
    wanted = Wanted(model=artefact.digest, arm="stable", whole=True)
    with closing(open_archive(settings.ledger(service))) as archive:  # type: ignore[type-var]
        found = archive.search(service, wanted, limit=ROWS, newest_first=True)
    entries = [cipher.decrypted(recorded).entry for recorded in found]
    vectors = np.array([np.frombuffer(entry.vector) for entry in entries]).reshape(-1, len(reference.names))
    scores = [np.nan if entry.score is None else entry.score for entry in entries]
    return {**dict(zip(reference.names, vectors.T, strict=True)), SCORE: scores}


def _drawn(reference: Reference) -> pd.DataFrame:
    """Draw from each histogram by itself, evenly within a bin."""
    import pandas as pd

    rng = np.random.default_rng(0)
    subjects = {name: f"{FEATURE}{name}" for name in reference.names} | {SCORE: SCORE}
    return pd.DataFrame({n: _column(reference.edges[s], reference.counts[s], rng) for n, s in subjects.items()})


def _column(edges: Counts, counts: Counts, rng: np.random.Generator) -> Counts:
    place = rng.choice(len(counts), ROWS, p=counts / counts.sum())
    is_missing = place >= len(edges) - 1
    place = np.minimum(place, len(edges) - 2)
    return np.where(is_missing, np.nan, rng.uniform(edges[place], edges[place + 1]))
