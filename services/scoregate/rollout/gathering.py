"""The evidence on one canary of the local stack: the ledger since it took its weight, both processes' metrics."""

from __future__ import annotations

import time
from contextlib import closing
from typing import Final

from scoregate import catalog
from scoregate.ledger.archive import Place, Wanted, open_archive
from scoregate.ledger.cipher import FieldCipher
from scoregate.local.plan import ports
from scoregate.local.traefik import CANARY, HOST, STABLE
from scoregate.policy import Policy
from scoregate.rollout import requests
from scoregate.rollout.canary import Canary, Reading
from scoregate.rollout.decisions import DecisionTally
from scoregate.rollout.verdict import Evidence
from scoregate.settings import Settings

SETTLED_S: Final = 1.0
"""Decisions of several writers become durable a little out of order: the last second is left for the next look."""
PAGE: Final = 2_000


class Gathering:
    """Looks at one step of a canary, again and again; each look reads what has come since the one before."""

    def __init__(self, settings: Settings, canary: Canary) -> None:
        self._settings, self.canary = settings, canary
        self._tally = DecisionTally(outcomes_of(settings, canary.service))
        self._cipher = FieldCipher.load(settings.ledger_key_file)
        self._after: Place | None = None
        self._last: dict[str, Reading] = dict(canary.before)
        self._grown: dict[str, Reading] = {STABLE: {}, CANARY: {}}

    def look(self) -> Evidence:
        """Return all evidence up to now.

        Raises:
            LedgerUnavailable: the ledger cannot be read.
        """
        self._read_ledger()
        for arm, now in readings(self._settings, self.canary.service).items():
            self._grown[arm] = requests.added(self._grown[arm], requests.grown(self._last.get(arm, {}), now))
            self._last[arm] = now
        return {**self._tally.samples(), **requests.samples(self._grown[STABLE], self._grown[CANARY])}

    def _read_ledger(self) -> None:
        wanted = Wanted(since_s=self.canary.since_s, until_s=time.time() - SETTLED_S)
        with closing(open_archive(self._settings.ledger(self.canary.service))) as archive:  # type: ignore[type-var]
            while page := archive.search(self.canary.service, wanted, after=self._after, limit=PAGE):
                self._tally.add(map(self._cipher.decrypted, page))
                self._after = Place.of(page[-1])


def readings(settings: Settings, service: str) -> dict[str, Reading]:
    """Return the metrics of both arms; an arm that does not answer is left out."""
    planned = ports(settings, catalog.services())
    found: dict[str, Reading] = {}
    for arm, port in ((STABLE, planned.stable[service]), (CANARY, planned.canary[service])):
        try:
            found[arm] = requests.reading(requests.scrape(f"http://{HOST}:{port}/metrics"), service, arm)
        except OSError:
            continue
    return found


def outcomes_of(settings: Settings, service: str) -> tuple[str, ...]:
    """Return the names of a service's outcomes by its champion's policy, mildest first."""
    models = settings.models(service)
    text = (models / (models / "champion").read_text().strip() / "policy.toml").read_text()
    return tuple(outcome.name for outcome in Policy.from_toml(text).outcomes)
