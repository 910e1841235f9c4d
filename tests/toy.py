"""A smallest service for tests: one view of facts, one of tiles, three features, four events, a real forest."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import numpy as np

from scoregate.contract import (
    AmountMinor,
    CountEvent,
    FactsEvent,
    Identifier,
    LabelEvent,
    Moment,
    ReverseEvent,
    ScoreRequest,
)
from scoregate.features import FeatureRow, windows
from scoregate.features.memory import MemoryFeatures
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.reading import Marker
from scoregate.models import FeatureStats, Signature
from scoregate.models.artefact import Artefact
from scoregate.models.forest import Forest

NOW_S = 1_700_000_000.0


class Request(ScoreRequest):
    NATURAL_KEY: ClassVar[str] = "payment_id"
    PERSONAL: ClassVar[frozenset[str]] = frozenset({"payer_id"})

    payment_id: Identifier
    payer_id: Identifier
    amount_minor: AmountMinor


EXAMPLE: dict[str, Any] = {"payment_id": "p1", "payer_id": "known", "amount_minor": 2_000}
FEATURES = ("amount_minor", "limit_minor", "count_1d")

PLAN = FeaturePlan(
    "toy_v1",
    "test",
    (
        ViewPlan("payer_facts", "facts", "facts", ("payer_id",), (("limit_minor", "int64"),), 3600.0),
        ViewPlan("payer_tiles", "tiles", "payments", ("payer_id",), (("hours", "int64_list"),), 60.0),
    ),
)

POLICY = """
outcomes = ["approve", "review", "decline"]
[amount]
feature = "amount_minor"
loss_given_bad = 0.9
[cost.approve]
if_bad_share = 1.0
[cost.review]
fixed_minor = 300
[cost.decline]
if_good_share = 0.5
fixed_minor = 10
[low_confidence]
required = ["payer_facts", "payer_tiles"]
at_least = "review"
[fallback]
outcome = "review"
[known]
payer_facts = "payer_id"
[[rules]]
code = "very_large"
text = "The amount is very large"
feature = "amount_minor"
above = 500000
at_least = "decline"
[reasons.velocity]
text = "Unusually many payments in a day"
features = ["+count_1d"]
[reasons.amount]
text = "The amount is high for this payer"
features = ["+amount_minor", "-limit_minor"]
"""


LOOKING = POLICY.replace("[low_confidence]", "[low_confidence]\nbeyond = 1.0")
"""The policy that looks whether values lie beyond those of training."""


def entities(request: Request, hashed: Callable[[str, str], str]) -> dict[str, str]:
    return {"payer_id": request.payer_id}


def vector(request: Request, row: FeatureRow, at_s: float) -> list[float]:
    tiles = windows.read(row, "payer_tiles", at_s)
    limit = row.get("payer_facts", "limit_minor")
    return [
        float(request.amount_minor),
        math.nan if limit is None else float(limit),
        math.nan if tiles is None else float(tiles.count("1d")),
    ]


@lru_cache(maxsize=1)
def booster() -> bytes:
    """A small forest: many payments a day and amounts above the limit are bad."""
    import xgboost

    rng = np.random.default_rng(7)
    matrix = np.column_stack(
        [rng.integers(100, 10_000, 4_000), rng.integers(1_000, 9_000, 4_000), rng.poisson(2, 4_000)]
    ).astype(np.float32)
    odds = (matrix[:, 0] > matrix[:, 1]) * 2.0 + (matrix[:, 2] > 4) * 3.0 - 3.0
    bad = rng.random(4_000) < 1 / (1 + np.exp(-odds))
    trained = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "nthread": 1, "seed": 1, "base_score": 0.2},
        xgboost.DMatrix(matrix, bad),
        20,
    )
    return bytes(trained.save_raw("ubj"))


def artefact(policy: str = POLICY) -> Artefact:
    signature = Signature(
        service="toy",
        feature_service="toy_v1",
        plan=PLAN,
        features=(
            FeatureStats("amount_minor", 100.0, 10_000.0, 3_000.0),
            FeatureStats("limit_minor", 1_000.0, 9_000.0, 6_000.0),
            FeatureStats("count_1d", 0.0, 10.0, 1.0),
        ),
        calibrator=(1.0, 0.0),
        training={},
    )
    forest = Forest.from_bytes(booster(), 1.0, 0.0)
    return Artefact("d" * 64, signature, forest, policy, [], {})


def source(*, marked: bool = True, at_s: float = NOW_S, payments_today: int = 1) -> MemoryFeatures:
    """A whole store that knows one payer, with this many payments in the running hour."""
    memory = MemoryFeatures(PLAN)
    memory.put("payer_facts", ("known",), {"limit_minor": 5_000}, at_s - 10)
    memory.put("payer_tiles", ("known",), {"hours": [int(at_s // 3600), payments_today, 100, 1, 0]}, at_s - 10)
    if marked:
        memory.markers = {"facts": Marker("e", at_s - 1), "payments": Marker("e", at_s - 1)}
    return memory


class Paid(CountEvent, Request):
    type: Literal["paid"]


class Undone(ReverseEvent):
    type: Literal["undone"]
    payment_id: Identifier


class Labelled(LabelEvent):
    type: Literal["labelled"]
    payment_id: Identifier
    was_bad: bool

    @property
    def is_bad(self) -> bool:
        return self.was_bad


class Limit(FactsEvent):
    VIEW: ClassVar[str] = "payer_facts"
    ENTITY: ClassVar[str] = "payer_id"

    type: Literal["limit"]
    payer_id: Identifier
    limit_minor: AmountMinor
    since: Moment

    def entity(self, hashed: Callable[[str, str], str]) -> tuple[str, str]:
        return "payer_id", hashed("payer", self.payer_id)


def event_row(request: Request, hashed: Callable[[str, str], str]) -> dict[str, Any]:
    return {"payer_id": hashed("payer", request.payer_id), "amount_minor": request.amount_minor}


EVENTS = SimpleNamespace(
    STREAM="payments",
    row=event_row,
    EVENTS=(Paid, Undone, Labelled, Limit),
    EXAMPLES=({"type": "paid", **EXAMPLE, "event_at": "2023-11-14T22:13:20Z"},),
)
CODE = SimpleNamespace(FEATURES=FEATURES, entities=entities, vector=vector)
CONTRACT = SimpleNamespace(Request=Request, EXAMPLE=EXAMPLE)


def body(**changes: Any) -> bytes:
    return json.dumps({**EXAMPLE, **changes}).encode()
