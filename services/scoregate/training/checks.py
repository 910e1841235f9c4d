"""Data checks at the door of training, by Great Expectations: kinds, ranges, nulls, keys and times.

    records     all that the source gave: natural keys, times and labels
    requests    the sampled ones, against the ranges that serving enforces on the same fields
    features    what is tested on, against the ranges and the missing share of what is trained on

Nothing is written, nothing is sent, and no value of a record is repeated: only counts are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scoregate.settings import quiet_libraries

if TYPE_CHECKING:
    import pandas as pd

MOSTLY: Final = 0.9
"""Least share of tested values within the range of training; at most the rest may be missing more often, too."""

Check = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Door:
    """What comes to the door of one training; `ranges` and `known` are of the training records, by feature.

    `known` is the share of values that are there.
    """

    records: pd.DataFrame
    requests: pd.DataFrame
    features: pd.DataFrame
    schema: Mapping[str, Any]
    key: str
    label: str
    known_at: str | None
    until: dt.datetime
    ranges: Mapping[str, tuple[float, float]]
    known: Mapping[str, float]


def run(door: Door) -> list[Check]:
    """Check everything; importing Great Expectations takes seconds."""
    quiet_libraries()
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    source = context.data_sources.add_pandas("training")
    found: list[Check] = []
    for name, frame, asked in (
        ("records", door.records, _records(door)),
        ("requests", door.requests, _requests(door)),
        ("features", door.features, _features(door)),
    ):
        batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        expectations = dict(asked)
        suite = gx.ExpectationSuite(name, expectations=list(expectations.values()))
        results = batch.get_batch({"dataframe": frame}).validate(suite).results
        # Results come back in another order than they were asked for.
        by_what = {_what(r.expectation_config.type, r.expectation_config.kwargs): r for r in results}
        for sentence, expectation in expectations.items():
            config = expectation.configuration
            result = by_what[_what(config.type, config.kwargs)]
            found.append({"check": f"{name}: {sentence}", "ok": bool(result.success), "observed": _observed(result)})
    return found


def _what(kind: str, kwargs: Mapping[str, Any]) -> str:
    columns = (kwargs.get(name) for name in ("column", "column_A", "column_B"))
    return " ".join([kind, *(str(column) for column in columns if column)])


def _observed(result: Any) -> str:
    found = result.result
    if result.exception_info.get("raised_exception"):
        return str(result.exception_info.get("exception_message"))
    if "unexpected_count" in found:
        return f"{found['unexpected_count']:,} of {found['element_count']:,} records are not"
    value = found.get("observed_value")
    return f"{value:.6g}" if isinstance(value, float | int) else f"{len(value)} columns" if value else ""


def _records(door: Door) -> Iterator[tuple[str, Any]]:
    import great_expectations.expectations as ask

    columns = sorted({"event_at", door.label, *([door.known_at] if door.known_at else [])})
    yield (
        f"has {', '.join(columns)}",
        ask.ExpectTableColumnsToMatchSet(column_set=columns, exact_match=False),
    )
    if door.key in door.records.columns:
        yield f"{door.key} is unique", ask.ExpectColumnValuesToBeUnique(column=door.key)
        yield f"{door.key} is never null", ask.ExpectColumnValuesToNotBeNull(column=door.key)
    for name in ("event_at", door.label):
        yield f"{name} is never null", ask.ExpectColumnValuesToNotBeNull(column=name)
    yield (
        f"{door.label} is good or bad",
        ask.ExpectColumnValuesToBeInSet(column=door.label, value_set=[True, False]),
    )
    yield (
        "event_at is not in the future",
        ask.ExpectColumnValuesToBeBetween(column="event_at", max_value=door.until),
    )
    if door.known_at:
        yield (
            f"{door.known_at} is not before event_at",
            ask.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=door.known_at, column_B="event_at", or_equal=True, ignore_row_if="either_value_is_missing"
            ),
        )


def _requests(door: Door) -> Iterator[tuple[str, Any]]:
    import great_expectations.expectations as ask

    for name, kind in door.schema.get("properties", {}).items():
        if name not in door.requests.columns:
            continue
        low, high, values = _range(kind)
        if values is not None:
            yield f"{name} is one that serving knows", ask.ExpectColumnValuesToBeInSet(column=name, value_set=values)
        if low is not None or high is not None:
            yield (
                f"{name} is in the range that serving takes",
                ask.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high),
            )


def _range(kind: Mapping[str, Any]) -> tuple[float | None, float | None, list[Any] | None]:
    """Return the least and largest value and the values that a JSON schema allows; None where it does not say."""
    for one in (kind, *kind.get("anyOf", ())):
        if "enum" in one:
            return None, None, [value for value in one["enum"] if value is not None]
        low, high = one.get("minimum", one.get("exclusiveMinimum")), one.get("maximum", one.get("exclusiveMaximum"))
        if low is not None or high is not None:
            return low, high, None
    return None, None, None


def _features(door: Door) -> Iterator[tuple[str, Any]]:
    import great_expectations.expectations as ask

    for name, (low, high) in door.ranges.items():
        yield (
            f"{name} is within its training range, mostly",
            ask.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high, mostly=MOSTLY),
        )
    for name, known in door.known.items():
        yield (
            f"{name} is missing no more often than in training, nearly",
            ask.ExpectColumnProportionOfNonNullValuesToBeBetween(
                column=name, min_value=max(0.0, round(known - (1 - MOSTLY), 6)), max_value=1.0
            ),
        )


def ranges(train: np.ndarray[Any, Any], names: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, float]]:
    """Return (low, high) of every feature with values, and the share of values that are there."""
    columns = dict(zip(names, train.T, strict=True))
    there = {name: column[~np.isnan(column)] for name, column in columns.items()}
    return (
        {name: (float(values.min()), float(values.max())) for name, values in there.items() if len(values)},
        {name: len(values) / max(len(train), 1) for name, values in there.items()},
    )
