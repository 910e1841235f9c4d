"""The evidence on one canary since it took its weight: the ledger, and the metrics of both arms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import closing
from types import MappingProxyType
from typing import Final

from scoregate import catalog
from scoregate.errors import ArtefactCorrupt
from scoregate.ledger.archive import Place, Wanted, open_archive
from scoregate.ledger.cipher import FieldCipher
from scoregate.local.plan import ports
from scoregate.local.traefik import CANARY, HOST, STABLE
from scoregate.models.artefact import champion
from scoregate.policy import Policy
from scoregate.rollout import requests
from scoregate.rollout.canary import Canary, Reading
from scoregate.rollout.decisions import DecisionTally
from scoregate.rollout.gates import GATES, SHADOW_GATES
from scoregate.rollout.pairs import PairTally
from scoregate.rollout.prometheus import PrometheusReadings
from scoregate.rollout.verdict import Evidence, Verdict, judge
from scoregate.settings import Settings

SETTLED_S: Final = 1.0
"""Decisions of several writers become durable a little out of order: the last second is left for the next look."""
PAGE: Final = 2_000

Metrics = Callable[[], Mapping[str, Reading]]
"""Returns by how much each arm's counters grew since the step began."""


class Gathering:
    """Looks at one step of a canary, again and again; each look reads what has come since the one before.

    `metrics` is where the metrics' part comes from: the local stack's processes, unless it is said otherwise.
    """

    def __init__(self, settings: Settings, canary: Canary, metrics: Metrics | None = None) -> None:
        self._settings, self.canary = settings, canary
        outcomes = outcomes_of(settings, canary.service)
        self._tally = PairTally(outcomes, canary.model) if canary.shadow else DecisionTally(outcomes)
        self._cipher = FieldCipher.load(settings.ledger_key_file)
        self._after: Place | None = None
        self._metrics = metrics or LocalReadings(settings, canary)

    def verdict(self) -> Verdict:
        """Judge by all evidence up to now. Raises as `look`."""
        return judge(self.look(), SHADOW_GATES if self.canary.shadow else GATES)

    def look(self) -> Evidence:
        """Return all evidence up to now.

        Raises:
            DependencyError: the ledger or Prometheus cannot be read.
        """
        self._read_ledger()
        if self.canary.shadow:
            return self._tally.samples()
        grown = self._metrics()
        return {**self._tally.samples(), **requests.samples(grown.get(STABLE, {}), grown.get(CANARY, {}))}

    def _read_ledger(self) -> None:
        wanted = Wanted(since_s=self.canary.since_s, until_s=time.time() - SETTLED_S)
        with closing(open_archive(self._settings.ledger(self.canary.service))) as archive:  # type: ignore[type-var]
            while page := archive.search(self.canary.service, wanted, after=self._after, limit=PAGE):
                self._tally.add(map(self._cipher.decrypted, page))
                self._after = Place.of(page[-1])


class LocalReadings:
    """What both processes of the local stack counted since the canary's step began."""

    def __init__(self, settings: Settings, canary: Canary) -> None:
        self._settings, self._service = settings, canary.service
        self._last: dict[str, Reading] = dict(canary.before)
        self._grown: dict[str, Reading] = {}

    def __call__(self) -> dict[str, Reading]:
        for arm, now in readings(self._settings, self._service).items():
            grown = requests.grown(self._last.get(arm, {}), now)
            self._grown[arm] = requests.added(self._grown.get(arm, {}), grown)
            self._last[arm] = now
        return self._grown


def metrics_of(canary: Canary, prometheus: str | None, of: Mapping[str, str] = MappingProxyType({})) -> Metrics | None:
    """Return Prometheus as the source where one is named; `of` are labels that its series must have."""
    return PrometheusReadings(prometheus, canary.service, canary.since_s, of) if prometheus else None


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
    """Return the names of a service's outcomes by the served model's policy, mildest first, or by the service's own."""
    try:
        policy = (settings.model_dir or champion(settings.models(service))) / "policy.toml"
    except ArtefactCorrupt:
        policy = catalog.ROOT / service / "policy.toml"
    text = policy.read_text()
    return tuple(outcome.name for outcome in Policy.from_toml(text).outcomes)
