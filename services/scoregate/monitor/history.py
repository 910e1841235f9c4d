"""Counts of every ten minutes of a service's decisions, kept beside the ledger, so that each decision is read once."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoregate.ledger import Entry, Recorded
from scoregate.ledger.archive import Place, Wanted, open_archive
from scoregate.ledger.cipher import FieldCipher
from scoregate.models.artefact import Artefact
from scoregate.monitor.look import BUCKET_S, WEEK_S
from scoregate.monitor.tally import Reference, Tally
from scoregate.settings import Settings

SETTLED_S: Final = 5.0
"""Decisions of several writers become durable a little out of order: the newest are left for the next look."""
PAGE: Final = 2_000
KEPT_S: Final = 2 * WEEK_S + 3_600 + BUCKET_S


class History:
    """What one artefact's stable arm has decided. `by_start`: start of ten minutes → their counts."""

    def __init__(self, settings: Settings, artefact: Artefact, reference: Reference) -> None:
        self._settings, self._artefact, self._reference = settings, artefact, reference
        self._service = artefact.signature.service
        self._file = settings.home / "monitor" / self._service / f"{artefact.version}.json"
        self._cipher = FieldCipher.load(settings.ledger_key_file)
        self.by_start: dict[int, Tally] = {}
        self._after: Place | None = None
        self._load()

    def catch_up(self, now_s: float | None = None) -> None:
        """Read what was decided since the last time, and keep it.

        Raises:
            LedgerUnavailable: the ledger cannot be read.
        """
        now_s = time.time() if now_s is None else now_s
        wanted = Wanted(since_s=now_s - KEPT_S, until_s=now_s - SETTLED_S, model=self._artefact.digest, arm="stable")
        with closing(open_archive(self._settings.ledger(self._service))) as archive:  # type: ignore[type-var]
            while page := archive.search(self._service, wanted, after=self._after, limit=PAGE):
                self._add([self._cipher.decrypted(recorded) for recorded in page])
                self._after = Place.of(page[-1])
        self.by_start = {start: tally for start, tally in self.by_start.items() if start >= now_s - KEPT_S}
        self._save()

    def _add(self, page: list[Recorded]) -> None:
        by_start: defaultdict[int, list[Entry]] = defaultdict(list)
        for recorded in page:
            # A forgotten vector is empty.
            if recorded.entry.vector:
                by_start[int(recorded.entry.decided_at) // BUCKET_S * BUCKET_S].append(recorded.entry)
        for start, entries in by_start.items():
            vectors = np.array([np.frombuffer(entry.vector) for entry in entries])
            tally = self._reference.tally(
                vectors, [entry.score for entry in entries], [entry.outcome for entry in entries]
            )
            self.by_start[start] = self.by_start[start].plus(tally) if start in self.by_start else tally

    def _load(self) -> None:
        try:
            said = json.loads(self._file.read_text())
        except (FileNotFoundError, ValueError):
            return
        self._after = Place.parse(said["after"]) if said["after"] else None
        self.by_start = {int(start): _tally(counts) for start, counts in said["by_start"].items()}

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        said = {
            "after": None if self._after is None else str(self._after),
            "by_start": {
                start: {"decisions": tally.decisions, "counts": {s: c.tolist() for s, c in tally.counts.items()}}
                for start, tally in self.by_start.items()
            },
        }
        fresh = self._file.with_suffix(".fresh")
        fresh.write_text(json.dumps(said))
        fresh.replace(self._file)


def reference_of(folder: Path) -> Reference:
    """Read what an artefact is compared with."""
    return Reference.of(json.loads((folder / "reference.json").read_text()))


def _tally(said: dict[str, Any]) -> Tally:
    return Tally(said["decisions"], {subject: np.array(counts) for subject, counts in said["counts"].items()})
