"""Golden requests: the path's pure part over what a model was accepted with."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from scoregate.contract import ScoreRequest
from scoregate.deciding import Decider, Notes
from scoregate.errors import GoldenMismatch
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.models.artefact import Artefact, check_golden
from scoregate.scoring import FeatureCode


def row_of(golden: Mapping[str, Any]) -> FeatureRow:
    """Rebuild what was read for a golden request."""
    views = {
        view: ViewRow(found["values"], Status(found["status"]), found["age_s"], found.get("known", True))
        for view, found in golden["views"].items()
    }
    return FeatureRow(views, golden["entities"])


def check_goldens(artefact: Artefact, code: FeatureCode, request_type: type[ScoreRequest]) -> None:
    """Rescore every golden request with this process's own code and libraries.

    Raises:
        GoldenMismatch: a vector, score or outcome differs from what the model was accepted with.
    """
    if tuple(code.FEATURES) != artefact.signature.names:
        raise GoldenMismatch("the service's features.py and the signature name different features")
    decider = Decider(artefact)
    for number, golden in enumerate(artefact.golden):
        request = request_type.model_validate_json(json.dumps(golden["request"]))
        row = row_of(golden)
        vector = code.vector(request, row, golden["at_s"])
        expected = [math.nan if v is None else v for v in golden["vector"]]
        for name, want, got in zip(code.FEATURES, expected, vector, strict=True):
            if not (want == got or (math.isnan(want) and math.isnan(got))):
                raise GoldenMismatch(f"golden request {number} has another {name} than the model was accepted with")
        (score,) = decider.scores([vector])
        check_golden(str(number), golden["score"], score)
        outcome = decider.decide(vector, score, Notes(row.stale, row.missing, [])).decision.outcome.name
        if outcome != golden["outcome"]:
            raise GoldenMismatch(f"golden request {number} ends in {outcome}, accepted with {golden['outcome']}")
