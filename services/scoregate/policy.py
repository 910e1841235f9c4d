"""From a score to an outcome: pure, declared in a service's policy.toml, the same in serving, training and replay.

Every outcome has an expected cost, in minor units of the request's currency:

    cost = fixed_minor + p * (if_bad_share * amount + if_bad_minor) + (1 - p) * (if_good_share * amount + if_good_minor)

with p the calibrated probability of the bad event. The cheapest outcome is taken, ties go to the harsher one.
A person may override where an outcome begins, for every amount, with a written reason: above that score the outcome is
at least this, up to it milder.
Rules and low confidence can only make an outcome harsher: an absent fact must never read as a good one.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Collection, Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from scoregate.errors import ArtefactCorrupt
from scoregate.values import frozen


class Outcome(NamedTuple):
    """Ordered by rank: 0 is the mildest."""

    rank: int
    name: str


class Rung(StrEnum):
    """Rungs of the fallback ladder that answer; below them is a refusal."""

    FRESH = "fresh"
    PARTIAL = "partial"
    RULES = "rules"


@frozen
class Cost:
    """Cost of one outcome; see the module's formula."""

    fixed_minor: float = 0.0
    if_bad_share: float = 0.0
    if_bad_minor: float = 0.0
    if_good_share: float = 0.0
    if_good_minor: float = 0.0

    def expected_minor(self, score: float, amount_minor: float) -> float:
        bad = self.if_bad_share * amount_minor + self.if_bad_minor
        good = self.if_good_share * amount_minor + self.if_good_minor
        return self.fixed_minor + score * bad + (1.0 - score) * good


@frozen
class Override:
    """A person's word against the costs: the outcome begins above this score, whatever the amount."""

    outcome: Outcome
    above: float
    reason: str

    def apply(self, outcome: Outcome, score: float, milder: Outcome) -> Outcome:
        """Return at least this outcome above the score, and at most the next milder one up to it."""
        return max(outcome, self.outcome) if score > self.above else min(outcome, milder)


@frozen
class Rule:
    """A sentence of the policy that needs no model: when a feature compares so, the outcome is at least this."""

    code: str
    text: str
    feature: str
    compare: str
    value: float
    at_least: Outcome

    def holds(self, values: Mapping[str, float]) -> bool:
        found = values.get(self.feature, math.nan)
        if math.isnan(found):
            return False
        if self.compare == "above":
            return found > self.value
        if self.compare == "below":
            return found < self.value
        return found == self.value


@frozen
class Evidence:
    """A feature that speaks for a reason: above the usual (1), below it (-1), or either way (0).

    Written `+name`, `-name` and `name`: "income is low" is only said of an income below the usual.
    """

    feature: str
    direction: int

    @classmethod
    def parse(cls, text: str) -> Evidence:
        direction = {"+": 1, "-": -1}.get(text[:1], 0)
        return cls(text[1:] if direction else text, direction)


@frozen
class Decision:
    """What the policy says. `reasons` are (code, text); the model's own reasons come after the policy's."""

    outcome: Outcome
    reasons: tuple[tuple[str, str], ...]
    measures: Mapping[str, float]
    rung: Rung
    low_confidence: bool


@frozen
class Policy:
    """A parsed policy.toml; `known` maps views whose entity must be known to the request's field.

    `beyond`: how far a value may lie outside of its feature's range in training before confidence is low, as a share of
    that range; None where the policy says nothing of it. `growing`: features of which any value is taken.
    """

    outcomes: tuple[Outcome, ...]
    costs: tuple[Cost, ...]
    amount_feature: str | None
    loss_given_bad: float
    score_name: str | None
    required: frozenset[str]
    low_confidence: Outcome
    fallback: Outcome
    known: Mapping[str, str]
    rules: tuple[Rule, ...]
    texts: Mapping[str, str]
    groups: Mapping[str, tuple[Evidence, ...]]
    overrides: tuple[Override, ...] = ()
    beyond: float | None = None
    growing: frozenset[str] = frozenset()

    @classmethod
    def from_toml(cls, text: str) -> Policy:
        """Parse a policy.

        Raises:
            ArtefactCorrupt: it is not TOML, or something in it is missing or not known.
        """
        try:
            return _parse(tomllib.loads(text))
        except (tomllib.TOMLDecodeError, KeyError, TypeError, ValueError) as problem:
            raise ArtefactCorrupt(f"policy.toml: {problem}") from problem

    def check(self, features: Collection[str]) -> None:
        """Compare what the policy names with the features that the model has.

        Raises:
            ArtefactCorrupt: it names a feature that is not there.
        """
        named = {rule.feature for rule in self.rules} | self.growing
        named.update(evidence.feature for group in self.groups.values() for evidence in group)
        if self.amount_feature:
            named.add(self.amount_feature)
        if unknown := sorted(named.difference(features)):
            raise ArtefactCorrupt(f"policy.toml names features that the model lacks: {', '.join(unknown)}")

    def weigh(self, score: float, amount_minor: float) -> Outcome:
        """Return the outcome with the least expected cost, or what a person put in its place.

        The fallback when the amount is not known.
        """
        if math.isnan(amount_minor):
            return self.fallback
        costs = [cost.expected_minor(score, amount_minor) for cost in self.costs]
        cheapest = min(costs)
        found = max(outcome for outcome, cost in zip(self.outcomes, costs, strict=True) if cost <= cheapest)
        for override in self.overrides:
            found = override.apply(found, score, self.outcomes[override.outcome.rank - 1])
        return found

    def decide(
        self,
        score: float | None,
        values: Mapping[str, float],
        degraded: Collection[str],
        outside: Collection[str] = (),
    ) -> Decision:
        """Decide from a score (None without a model), the vector by name, and what is wrong with it.

        `degraded` names views that are stale or missing, and `view:feature` for a null in a view that is there;
        `outside` features whose value lies beyond what the model was trained on.
        """
        reasons: list[tuple[str, str]] = []
        rung, low_confidence = Rung.FRESH, False
        if score is None:
            outcome, rung, low_confidence = self.fallback, Rung.RULES, True
            reasons.append(("no_model", "The decision was made by rules on the request alone"))
        else:
            outcome = self.weigh(score, self._amount(values))
            # A null in a view is as absent as the view: `view:feature` counts for `view`.
            if degraded and not self.required.isdisjoint(name.partition(":")[0] for name in degraded):
                reasons.append(("features_degraded", "Some facts were not available or too old"))
            if outside:
                reasons.append(("values_unusual", "Some values lie outside of what the model has learned from"))
            if reasons:
                rung, low_confidence = Rung.PARTIAL, True
                outcome = max(outcome, self.low_confidence)
        for rule in self.rules:
            if rule.holds(values):
                outcome = max(outcome, rule.at_least)
                reasons.append((rule.code, rule.text))
        return Decision(outcome, tuple(reasons), self._measures(score, values), rung, low_confidence)

    def _amount(self, values: Mapping[str, float]) -> float:
        return values[self.amount_feature] if self.amount_feature else 0.0

    def _measures(self, score: float | None, values: Mapping[str, float]) -> dict[str, float]:
        if score is None:
            return {}
        measures = {self.score_name: round(score, 6)} if self.score_name else {}
        if self.amount_feature:
            measures["expected_loss_minor"] = round(score * self.loss_given_bad * self._amount(values), 2)
        return measures


def _parse(raw: dict[str, Any]) -> Policy:
    outcomes = tuple(Outcome(rank, name) for rank, name in enumerate(raw["outcomes"]))
    by_name = {outcome.name: outcome for outcome in outcomes}
    amount = raw.get("amount", {})
    reasons = raw.get("reasons", {})
    return Policy(
        outcomes=outcomes,
        costs=tuple(Cost(**raw["cost"][outcome.name]) for outcome in outcomes),
        amount_feature=amount.get("feature"),
        loss_given_bad=float(amount.get("loss_given_bad", 1.0)),
        score_name=raw.get("score_name"),
        required=frozenset(raw["low_confidence"]["required"]),
        low_confidence=by_name[raw["low_confidence"]["at_least"]],
        fallback=by_name[raw["fallback"]["outcome"]],
        known=dict(raw.get("known", {})),
        rules=tuple(_rule(rule, by_name) for rule in raw.get("rules", ())),
        texts={code: reason["text"] for code, reason in reasons.items()},
        groups={code: tuple(map(Evidence.parse, reason["features"])) for code, reason in reasons.items()},
        overrides=_overrides(raw.get("override", {}), by_name),
        beyond=_beyond(raw["low_confidence"]),
        growing=frozenset(raw["low_confidence"].get("growing", ())),
    )


def _beyond(raw: dict[str, Any]) -> float | None:
    beyond = float(raw["beyond"]) if "beyond" in raw else None
    if beyond is not None and not 0 <= beyond < math.inf:
        raise ValueError("low_confidence.beyond is a share of a feature's range, at least 0")
    return beyond


def _overrides(raw: dict[str, Any], by_name: Mapping[str, Outcome]) -> tuple[Override, ...]:
    """Read overrides, mildest first; a later one may not begin before an earlier one."""
    overrides = sorted(
        (Override(by_name[name], float(one["above"]), str(one["reason"]).strip()) for name, one in raw.items()),
        key=lambda override: override.outcome,
    )
    for override in overrides:
        if override.outcome.rank == 0:
            raise ValueError(f"override.{override.outcome.name}: the mildest outcome begins nowhere")
        if not override.reason:
            raise ValueError(f"override.{override.outcome.name} gives no reason")
        if not 0 <= override.above <= 1:
            raise ValueError(f"override.{override.outcome.name}: above is a score from 0 to 1")
    if any(b.above < a.above for a, b in pairwise(overrides)):
        raise ValueError("overrides of harsher outcomes begin at higher scores")
    return tuple(overrides)


def _rule(raw: dict[str, Any], by_name: Mapping[str, Outcome]) -> Rule:
    compare = next((word for word in ("above", "below", "equals") if word in raw), None)
    if compare is None:
        raise ValueError(f"rule {raw['code']} compares with nothing: give above, below or equals")
    return Rule(raw["code"], raw["text"], raw["feature"], compare, float(raw[compare]), by_name[raw["at_least"]])
