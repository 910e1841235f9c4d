"""The services that scoregate is compared with: a fraud service as tutorials write one, and one that does nothing."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Literal

import bentoml
import numpy as np
import xgboost as xgb
from feast import FeatureStore
from pydantic import BaseModel
from vector import vector
from views import repo

_OPTIONS = {"workers": 1, "logging": {"access": {"enabled": False}}}


class Payment(BaseModel):
    """What is asked."""

    transaction_id: str
    account_id: str
    device_id: str
    merchant_id: str
    amount_minor: int
    currency: str
    channel: Literal["pos", "ecom", "atm", "transfer", "other"]
    country: str


class Verdict(BaseModel):
    """What is answered."""

    transaction_id: str
    score: float


@bentoml.service(name="tutorial", **_OPTIONS)
class Tutorial:
    """Features from Feast's SDK, the forest by XGBoost; no authentication, no ledger, no reasons."""

    def __init__(self) -> None:
        self._store = FeatureStore(config=repo(os.environ["TUTORIAL_REGISTRY"], os.environ["TUTORIAL_STORE"]))
        # Once: by its name it would be looked up in the registry for each request.
        self._features = self._store.get_feature_service("payments")
        model = Path(os.environ["TUTORIAL_MODEL"])
        self._forest = xgb.Booster(model_file=str(model / "model.ubj"))
        self._forest.set_param({"nthread": 1})
        signature = json.loads((model / "signature.json").read_text())
        self._names = tuple(feature["name"] for feature in signature["features"])
        self._slope, self._offset = signature["calibrator"]["a"], signature["calibrator"]["b"]

    @bentoml.api
    def score(self, payment: Payment, /) -> Verdict:
        rows = [_entities(payment)]
        return self._verdict(payment, self._store.get_online_features(self._features, rows).to_dict())

    @bentoml.api
    async def score_async(self, payment: Payment, /) -> Verdict:
        rows = [_entities(payment)]
        return self._verdict(payment, (await self._store.get_online_features_async(self._features, rows)).to_dict())

    def _verdict(self, payment: Payment, found: dict[str, list[object]]) -> Verdict:
        read = {name: values[0] for name, values in found.items()}
        values = vector(payment.model_dump(), read, self._names, time.time())
        matrix = xgb.DMatrix(np.array([values], dtype=np.float32), nthread=1)
        margin = float(self._forest.predict(matrix, output_margin=True, validate_features=False)[0])
        score = 1.0 / (1.0 + math.exp(-(self._slope * margin + self._offset)))
        return Verdict(transaction_id=payment.transaction_id, score=score)


def _entities(payment: Payment) -> dict[str, str]:
    return {key: getattr(payment, key) for key in ("account_id", "device_id", "merchant_id")}


@bentoml.service(name="empty", **_OPTIONS)
class Empty:
    """What BentoML alone takes."""

    @bentoml.api
    async def score(self) -> str:
        return ""
