"""Training: from recorded events to an accepted artefact; serving never imports this room.

    streams, tiles, prepare    offline data, Feast sources, point-in-time join
    dataset.py, vectors.py     labelled requests → the service's own vectors, as of then
    maturity.py                how many labels are still to come
    fit.py                     the forest and its calibrator; boosting.py, contrast.py, anomaly.py what it is made of
    evaluate.py, worklist.py   metrics on records that training has not seen; resample.py makes their intervals
    thresholds.py              where outcomes begin, by the policy's costs, and what it would cost to move that
    fairness.py                how decisions fall on segments of people
    evidence.py                all of these for one training
    describe.py, card.py       signature, reference histograms, golden requests, model card
    artefact.py                writes the immutable folder
    run.py                     all of it in order

A service says what is special about it in one `Problem`, in its `train.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from scoregate.values import frozen

if TYPE_CHECKING:
    import pyarrow as pa

    from scoregate.settings import Settings


@frozen
class ByTime:
    """Train on the past, test on what came after: … warm-up | train | gap | test, the test ending with the data.

    The gap keeps what training learns apart from what it is tested on: an episode of fraud lasts for days.
    What lies before the training days only fills windows. The training days are cross-validated in blocks of time.
    """

    train_days: int
    gap_days: int
    test_days: int
    folds: int = 3


@frozen
class HeldOut:
    """For records without an order in time: a fixed share is tested on, the rest is cross-validated in folds."""

    share: float = 0.25
    folds: int = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What one service trains.

    `load` returns labelled requests: a column for each field of the request, `event_at`, and the label.
    `known_at`: column of the time at which a bad label arrived; what arrives after training is not trained on.
    `objective`: `supervised` learns the label; `anomaly` compares approaches that need labels more or less (anomaly.py)
    and keeps one. `label_parameters` come on top of `parameters` where an approach learns labels; `spread`: share of a
    contrast's reference values that are drawn evenly over the feature's range; `prior`: share of anomalies that its
    score assumes where no labels say better. `kind`: column that tells kinds of bad records apart. `linked` returns the
    alert group of each request.
    `monotone`: feature → 1 where more can only raise the score, -1 where it can only lower it.
    `group`: column of what is drawn together when intervals are made.
    `protected` returns protected attributes, never features, for the fairness report alone: one column that the
    requests have too, and one for each attribute.
    `rows_at_most`: bound on the good records to train on, and to test on; each then weighs more.
    """

    load: Callable[[Settings], pa.Table]
    label: str
    split: ByTime | HeldOut
    headline: str
    parameters: Mapping[str, Any]
    label_parameters: Mapping[str, Any] = field(default_factory=dict)
    objective: Literal["supervised", "anomaly"] = "supervised"
    kind: str | None = None
    linked: Callable[[pa.Table], Any] | None = None
    version: int = 1
    known_at: str | None = None
    monotone: Mapping[str, int] = field(default_factory=dict)
    spread: float = 0.2
    prior: float = 0.02
    group: str | None = None
    protected: Callable[[Settings], pa.Table] | None = None
    rows_at_most: int = 24_000
    rounds_at_most: int = 600

    def feature_service(self, service: str) -> str:
        """Name of the FeatureService that this model reads."""
        return f"{service}_v{self.version}"
