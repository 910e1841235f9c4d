"""What a model has to pass before it may be promoted, in this order; each gate names its figure and its bound.

    data          checks of the records at the door (checks.py)
    leakage       no feature predicts too well alone, none is newer than its request, no label was known too early
    floor         the low ends of the metrics' intervals reach what the service asks for
    champion      on the same records no worse than the champion, by a paired bootstrap
    calibration   predicted and observed agree, bin by bin and in the large
    fairness      no segment's adverse-impact ratio lies below the bound with its whole interval
    stability     scores and features are distributed in the test period and in each fold as in training (PSI)
    golden        a fresh process makes the golden scores again

A gate that cannot be asked is skipped, and says why. Bounds are the service's own, in `gates.toml` beside its
`policy.toml`; what is not there is as in `Bounds`. Where a person accepts what a gate would stop, the reason is written
there too, and the evidence repeats it.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, Literal

import numpy as np

from scoregate.errors import ScoregateError
from scoregate.training.evaluate import METRICS, TITLES, _Sweep
from scoregate.training.resample import Draws, Floats, Ints, Measured, ratio
from scoregate.values import frozen

Status = Literal["passed", "failed", "skipped"]
LOWER_IS_BETTER: Final = frozenset({"brier", "ece"})


@frozen
class Gate:
    """What one gate found. `figure` and `bound` are null where it was skipped, or where no number says it."""

    name: str
    status: Status
    figure: float | None
    bound: float | None
    sentence: str

    @classmethod
    def judged(cls, name: str, passed: bool, figure: float, bound: float, sentence: str) -> Gate:
        return cls(name, "passed" if passed else "failed", round(figure, 6), bound, sentence)

    @classmethod
    def skipped(cls, name: str, why: str) -> Gate:
        return cls(name, "skipped", None, None, why)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a service asks of its models.

    `alone_auc` and `alone_recall` bound what one feature may predict by itself (recall at 0.1 % false positives);
    `worse_by` is how much of the headline a model may lose against the champion at all; `ratio` bounds observed over
    predicted. `allowed` (features that may predict alone) and `drifting` (features) say why they are let be; `accepted`
    (an attribute and its segment, such as "age_band under 25") also who answers for it: `{by = "…", why = "…"}`.
    """

    alone_auc: float = 0.97
    alone_recall: float = 0.6
    allowed: Mapping[str, str] = field(default_factory=dict)
    floor: Mapping[str, float] = field(default_factory=lambda: {"roc_auc": 0.5})
    worse_by: float = 0.02
    ece: float = 0.05
    ratio: tuple[float, float] = (0.8, 1.25)
    impact: float = 0.8
    accepted: Mapping[str, str] = field(default_factory=dict)
    psi: float = 0.25
    drifting: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def from_toml(cls, text: str) -> Bounds:
        """Parse a gates.toml.

        Raises:
            ScoregateError: it is not TOML, names what no gate knows, or accepts something without a reason.
        """
        try:
            raw = tomllib.loads(text)
        except tomllib.TOMLDecodeError as problem:
            raise ScoregateError(f"gates.toml: {problem}") from problem
        if unknown := sorted(raw.keys() - {f.name for f in fields(cls)}):
            raise ScoregateError(f"gates.toml names what no gate knows: {', '.join(unknown)}")
        if unknown := sorted(set(raw.get("floor", {})) - {*METRICS, "card_precision_at_100"}):
            raise ScoregateError(f"gates.toml asks for metrics that nobody measures: {', '.join(unknown)}")
        raw["accepted"] = {name: _accepted(name, said) for name, said in raw.get("accepted", {}).items()}
        for name in ("allowed", "drifting"):
            if bare := sorted(key for key, why in raw.get(name, {}).items() if not str(why).strip()):
                raise ScoregateError(f"gates.toml gives no reason in [{name}] for {', '.join(bare)}")
        if "ratio" in raw:
            raw["ratio"] = tuple(raw["ratio"])
        return cls(**raw)


def _accepted(name: str, said: Any) -> str:
    """Return who accepts a segment and why: no model may grant itself what a risk owner has to."""
    if not isinstance(said, dict) or any(not str(said.get(key, "")).strip() for key in ("by", "why")):
        raise ScoregateError(f'gates.toml accepts {name} without {{by = "a risk owner", why = "a reason"}}')
    return f"{said['why']} ({said['by']})"


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the gates found, and the figures behind them that a report shows.

    `alone`: feature → (ROC-AUC, recall at 0.1 % false positives) by itself; `psi` by feature, `score_psi` by period.
    """

    gates: Sequence[Gate]
    checks: Sequence[Mapping[str, Any]]
    alone: Mapping[str, tuple[float, float]]
    psi: Mapping[str, float]
    score_psi: Mapping[str, float]

    def as_json(self) -> dict[str, Any]:
        """Write gates and data checks as an artefact keeps them."""
        return {
            "passed": passed(self.gates),
            "gates": [asdict(gate) for gate in self.gates],
            "checks": list(self.checks),
        }


def passed(gates: Sequence[Gate]) -> bool:
    """Say whether no gate failed."""
    return first_failed(gates) is None


def first_failed(gates: Sequence[Gate]) -> Gate | None:
    return next((gate for gate in gates if gate.status == "failed"), None)


def from_json(raw: Mapping[str, Any]) -> list[Gate]:
    return [Gate(**one) for one in raw["gates"]]


def data(checks: Sequence[Mapping[str, Any]]) -> Gate:
    """Ask whether all data checks held; each has `check`, `ok` and `observed`."""
    broken = [one for one in checks if not one["ok"]]
    words = f"all {len(checks)} data checks held"
    if broken:
        words = f"{len(broken)} of {len(checks)} data checks failed: " + "; ".join(
            f"{one['check']}: {one['observed']}" for one in broken[:3]
        )
    return Gate.judged("data", not broken, float(len(broken)), 0.0, words)


def leakage(alone: Mapping[str, tuple[float, float]], early: Mapping[str, int], bounds: Bounds) -> Gate:
    """Ask whether anything knows the outcome beforehand.

    `alone`: feature → (ROC-AUC, recall at 0.1 % false positives) of that feature alone.
    `early`: what must not have been known yet → records in which it was.
    """
    if late := {name: count for name, count in early.items() if count}:
        what = "; ".join(f"{name} in {count:,} records" for name, count in sorted(late.items()))
        return Gate.judged("leakage", False, float(sum(late.values())), 0.0, f"known before its time: {what}")
    free = {name: found for name, found in alone.items() if name not in bounds.allowed}
    for place, bound, what in (
        (0, bounds.alone_auc, "ROC-AUC"),
        (1, bounds.alone_recall, "recall at 0.1 % false positives"),
    ):
        if over := sorted((n for n in free if free[n][place] > bound), key=lambda n: -free[n][place]):
            others = f" (and {len(over) - 1} more)" if len(over) > 1 else ""
            words = f"{over[0]}{others} alone has a {what} of {free[over[0]][place]:.3f}, above {bound:g}"
            return Gate.judged("leakage", False, free[over[0]][place], bound, words)
    if not free:
        return Gate.skipped("leakage", "every feature is allowed to predict alone")
    best = max(free, key=lambda name: free[name][0])
    if not free[best][0]:
        return Gate.skipped("leakage", "too few records are known to be bad to say what a feature predicts alone")
    words = f"the best feature alone, {best}, has a ROC-AUC of {free[best][0]:.3f}, at most {bounds.alone_auc:g}"
    for name, why in bounds.allowed.items():
        words += f"; {name} is allowed: {why}"
    return Gate.judged("leakage", True, free[best][0], bounds.alone_auc, words)


def floor(metrics: Mapping[str, Measured], bounds: Bounds) -> Gate:
    """Ask whether each metric reaches its floor with the worse end of its interval."""
    asked = {name: bound for name, bound in bounds.floor.items() if name in metrics}
    if not asked:
        return Gate.skipped("floor", "no metric that was measured has a floor")
    margins = {}
    for name, bound in asked.items():
        found = metrics[name]
        margins[name] = bound - found.high if name in LOWER_IS_BETTER else found.low - bound
    worst = min(margins, key=lambda name: margins[name])
    found, side = metrics[worst], "at most" if worst in LOWER_IS_BETTER else "at least"
    figure = found.high if worst in LOWER_IS_BETTER else found.low
    title = TITLES.get(worst, worst)
    words = f"{title} is {found}, and the interval's end {figure:.3f} should be {side} {asked[worst]:g}"
    return Gate.judged("floor", margins[worst] >= 0, figure, asked[worst], words)


def champion(
    metric: str, label: Ints, mine: Floats, theirs: Floats, weight: Floats, draws: Draws, bounds: Bounds, who: str
) -> Gate:
    """Ask whether a model loses against the champion: by more than chance, or by more than `worse_by` at all."""
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0

    one, other = _Sweep(label, mine, weight), _Sweep(label, theirs, weight)

    def gain(times: Floats) -> float:
        return sign * (one.measure(times[one.order])[metric] - other.measure(times[other.order])[metric])

    found = Measured.of(gain(np.ones(len(label))), [gain(times) for times in draws.each()])
    passes = found.high >= 0 and found.value >= -bounds.worse_by
    words = f"{TITLES[metric]} against the champion {who} on the same {len(label):,} records: {_signed(found)}"
    return Gate.judged("champion", passes, found.value, -bounds.worse_by, words)


def calibration(ece: Measured, label: Ints, score: Floats, weight: Floats, draws: Draws, bounds: Bounds) -> Gate:
    """Ask whether scores are probabilities: bin by bin, and whether as many are bad as they say together."""
    total, drawn = draws.totals(np.stack([weight * label, weight * score], axis=1))
    large = Measured.of(float(ratio(total[0], total[1])), ratio(drawn[:, 0], drawn[:, 1]))
    low, high = bounds.ratio
    if large.high < low or large.low > high:
        bound = low if large.high < low else high
        words = f"{large} bad records for each one that the scores predict, outside {low:g} to {high:g}"
        return Gate.judged("calibration", False, large.value, bound, words)
    words = (
        f"the expected calibration error is {ece}, bound {bounds.ece:g}; "
        f"{large} bad records for each one that the scores predict"
    )
    return Gate.judged("calibration", ece.value <= bounds.ece, ece.value, bounds.ece, words)


def fairness(evidence: Mapping[str, Any] | None, bounds: Bounds) -> Gate:
    """Ask whether a segment is approved less often than the bound allows, beyond chance.

    `evidence` is what `fairness.fairness` returned.
    """
    if not evidence:
        return Gate.skipped("fairness", "no protected attributes are known")
    ratios = [
        (f"{attribute} {segment}", Measured(**cell["adverse_impact_ratio"]))
        for attribute, one in evidence["attributes"].items()
        for segment, cell in one["segments"].items()
        if cell.get("adverse_impact_ratio") and segment != one["reference"]
    ]
    if not ratios:
        return Gate.skipped("fairness", "no two segments of people are large enough to compare")
    # Interval before value: a small segment far below the bound by chance must not hide a large one that is below it.
    ratios.sort(key=lambda one: (min(one[1].high, bounds.impact), one[1].value))
    asked = [one for one in ratios if one[0] not in bounds.accepted]
    who, found = (asked or ratios)[0]
    words = f"adverse-impact ratio of {who}: {found}, bound {bounds.impact:g}"
    if found.value < bounds.impact <= found.high:
        words += ", which lies within the interval: too near to tell, so watch it"
    for name, measured in ratios:
        if name in bounds.accepted:
            words += f"; {name}: {measured}, accepted: {bounds.accepted[name]}"
    return Gate.judged("fairness", not asked or found.high >= bounds.impact, found.value, bounds.impact, words)


def stability(score: Mapping[str, float], features: Mapping[str, float], bounds: Bounds) -> Gate:
    """Ask whether anything is distributed otherwise than in training; values are PSI by period, and by feature."""
    asked = {f"the score in {where}": psi for where, psi in score.items()}
    asked |= {name: psi for name, psi in features.items() if name not in bounds.drifting}
    if not asked:
        return Gate.skipped("stability", "there is nothing to compare")
    worst = max(asked, key=lambda name: asked[name])
    words = f"the largest population stability index is {asked[worst]:.3f}, of {worst}, bound {bounds.psi:g}"
    for name, why in bounds.drifting.items():
        if name in features:
            words += f"; {name} ({features[name]:.3f}) may drift: {why}"
    return Gate.judged("stability", asked[worst] <= bounds.psi, asked[worst], bounds.psi, words)


def golden(differences: Sequence[float], tolerance: float) -> Gate:
    """Ask whether the golden scores came out again; nan counts as different."""
    if not differences:
        return Gate.judged("golden", False, 0.0, tolerance, "there are no golden requests")
    largest = max((d if np.isfinite(d) else float("inf")) for d in differences)
    figure = largest if np.isfinite(largest) else 1.0
    words = f"{len(differences)} golden requests scored again by a fresh process differ by at most {figure:.1e}"
    return Gate.judged("golden", largest <= tolerance, figure, tolerance, words)


def _signed(found: Measured) -> str:
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"
