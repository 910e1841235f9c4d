"""The model card says what the report shows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scoregate.training.card import Figures, card
from scoregate.training.resample import Measured

FIGURE = {"value": 0.4, "low": 0.3, "high": 0.5}
RECORDS = {"rows": 2_000, "start": "2026-01-01", "end": "2026-02-01", "bad": 40}
FIGURES = Figures(
    service="toy",
    feature_service="toy_v1",
    objective="anomaly",
    metrics={"average_precision": Measured(0.4, 0.3, 0.5)},
    shares={"clear": 0.9, "block": 0.1},
    training={**RECORDS, "code_version": "1", "seed": 1, "data_digest": "0" * 64},
    tested=RECORDS,
    rounds=20,
)
ALERT = {"from": "block", "score": 0.5, "records_per_day": FIGURE, "alerts_per_day": {**FIGURE, "value": 1_234.56}}


def lines(**details: Any) -> list[str]:
    return card(replace(FIGURES, details=details)).splitlines()


def test_approaches_are_compared_best_first() -> None:
    """With which one was kept and why; one that no new kind could be shown has an empty cell."""
    one, other = {"known": FIGURE, "new": None, "test": FIGURE}, {**dict.fromkeys(("known", "new"), FIGURE)}
    best = {**other, "test": {**FIGURE, "value": 0.45}}
    said = lines(approaches={"kept": "guided", "why": "it ranks best", "figures": {"contrast": one, "guided": best}})

    assert "Kept is `guided`, because it ranks best." in said
    at = said.index("| approach | known kinds | new kinds | test period |")
    assert [
        "| guided | 0.400 (0.300 to 0.500) | 0.400 (0.300 to 0.500) | 0.450 (0.300 to 0.500) |",
        "| contrast | 0.400 (0.300 to 0.500) |  | 0.400 (0.300 to 0.500) |",
    ] == said[at + 2 : at + 4]


def test_alerts_a_day_are_told() -> None:
    """Above each threshold; of a sample it is said that they are more."""
    row = "| block | 0.5000 | 0.4 (0.3 to 0.5) | 1,234.6 (0.3 to 0.5) |"

    assert row in lines(alerts=[{**ALERT, "at_least": False}])
    assert "of a sample" not in "".join(lines(alerts=[{**ALERT, "at_least": False}]))
    assert "of a sample" in "".join(lines(alerts=[{**ALERT, "at_least": True}]))


def test_what_was_not_found_is_not_spoken_of() -> None:
    """A card without details has its two tables alone."""
    assert ["| metric | value | 95 % interval |", "| outcome | share of the test period |"] == [
        line for line in lines() if line.startswith("| ") and ("value" in line or "share" in line)
    ]
