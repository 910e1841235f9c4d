"""A challenger beside the champion: the same vector scored in the same process, and nobody is told.

What it thinks stands in the decision's ledger entry, as canonical JSON:

    {"model": digest, "outcome": name, "policy": digest, "score": probability}

with outcome and score null where it failed. It is in there because only what the entry's hash covers is evidence, so
it is scored before the answer leaves; that costs what a forest costs, and never more than `SHARE_S` of CPU per request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from scoregate.deciding import Decider, Notes
from scoregate.errors import SignatureMismatch
from scoregate.models.artefact import Artefact
from scoregate.policy import Policy

SHARE_S: Final = 0.0005
"""CPU that a request may lose to it, on average: a forest of 300 trees takes a tenth of that. What one score takes
more, the next requests go without."""

_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True).encode


class Shadow:
    """Scores with one artefact. `clock`: seconds of CPU."""

    def __init__(self, artefact: Artefact, clock: Callable[[], float] = time.thread_time) -> None:
        self._decider, self._clock, self._owed_s = Decider(artefact), clock, 0.0
        self._said = {"model": artefact.digest, "policy": artefact.policy_digest}

    @classmethod
    def beside(cls, champion: Artefact, artefact: Artefact) -> Self:
        """Make one that reads the champion's vectors and speaks of the champion's outcomes.

        Raises:
            SignatureMismatch: it needs other features, or knows other outcomes.
        """
        if artefact.signature.names != champion.signature.names:
            raise SignatureMismatch("the shadow reads other features than the champion, so it cannot score its vector")
        if Policy.from_toml(artefact.policy).outcomes != Policy.from_toml(champion.policy).outcomes:
            raise SignatureMismatch("the shadow decides between other outcomes than the champion")
        return cls(artefact)

    def look(self, vector: Sequence[float], notes: Notes) -> str | None:
        """Return what it thinks of a vector, as the ledger keeps it; None where it is not its turn."""
        if self._owed_s > 0:
            self._owed_s -= SHARE_S
            return None
        began_s = self._clock()
        try:
            (score,) = self._decider.scores([vector])
            outcome = self._decider.decision(vector, score, notes).outcome.name
            said = {**self._said, "outcome": outcome, "score": score}
        except Exception:
            said = {**self._said, "outcome": None, "score": None}
        self._owed_s = max(0.0, self._clock() - began_s - SHARE_S)
        return _encode(said)
