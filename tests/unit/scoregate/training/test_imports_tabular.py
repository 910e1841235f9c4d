"""A file of records: its own columns become features, and a contract that requests are held to."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pytest
from pydantic import ValidationError

from scoregate.contract import Identifier, ScoreRequest
from scoregate.errors import ScoregateError
from scoregate.models.tabular import Tabular
from scoregate.training.imports.tabular import read_map, schema

MANY = 40
TABLE = pa.table(
    {
        "income": pa.array([None, -999, *range(MANY - 2)], pa.int64()),
        "debt [k<9]": ["none", "1.5", *(str(i) for i in range(MANY - 2))],
        "home": ["own", "rent"] * (MANY // 2),
        "town": ["a"] * 15 + ["b"] * 15 + [f"t{i}" for i in range(MANY - 30)],
        "grade": pa.array([1, 2] * (MANY // 2)),
        "insured": [True, None] + [False] * (MANY - 2),
        "note": [f"text {i}" for i in range(MANY)],
        "one": ["x"] * MANY,
        "on": pa.array([0, *range(MANY - 1)], pa.int32()).cast(pa.date32()),
    }
)


def request_type(tabular: Tabular) -> type[ScoreRequest]:
    found: type[ScoreRequest] = tabular.request_type(ScoreRequest, Identifier)
    return found


def test_columns_become_features_by_what_they_hold() -> None:
    """Numbers, words that come often, codes among numbers; what says nothing is left out, and why is told."""
    tabular, facts, left_out = schema(TABLE, ["grade"])

    names = ("income", "debt (kbelow 9)", "debt (kbelow 9)=none", "home=own", "home=rent", "town=a", "town=b")
    assert (*names, "grade=1", "grade=2", "insured") == tabular.FEATURES
    assert [None, -999.0] == facts["income"][:2]
    assert {"note", "one", "on"} == set(left_out)
    assert tabular.columns == Tabular.from_json(tabular.as_json()).columns


def test_missing_is_missing_and_codes_are_kept() -> None:
    """A special number stays one; a code is a word of its own beside a number that is not there."""
    tabular, _, _ = schema(TABLE, [])
    said = tabular.of({"income": -999, "debt [k<9]": "none", "home": None, "town": "t7", "insured": True})

    values = dict(zip(tabular.FEATURES, said, strict=True))
    assert (-999.0, 1.0, 0.0, 1.0) == tuple(values[n] for n in ("income", "debt (kbelow 9)=none", "town=a", "insured"))
    assert all(math.isnan(values[name]) for name in ("debt (kbelow 9)", "home=own", "grade"))


def test_a_request_is_held_to_the_columns() -> None:
    """Every fault is named; a town that training may not have seen is fine, another kind of home is not."""
    tabular, _, _ = schema(TABLE, [])
    model = request_type(tabular)
    good = model.model_validate_json(
        '{"application_id": "a", "facts": {"income": 3, "debt [k<9]": "none", "town": "z"}}'
    )

    assert 3.0 == tabular.vector(good, None, 0.0)[0]
    bad = '{"application_id": "a", "facts": {"income": "3", "home": "tent", "insured": 1, "colour": "red"}}'
    with pytest.raises(ValidationError) as told:
        model.model_validate_json(bad)
    assert {"income", "home", "insured", "colour"} == {str(error["loc"][1]) for error in told.value.errors()}


def test_a_vector_needs_no_more_than_facts() -> None:
    """Nothing is read from a store: there are no keys, and an empty request is all nan."""
    tabular, _, _ = schema(TABLE, [])
    empty = SimpleNamespace(facts={})

    assert {} == tabular.entities(empty, lambda *kind_and_value: kind_and_value[1])
    assert all(math.isnan(value) for value in tabular.vector(empty, None, 0.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('protected = ["age"]', 'protected = "age": the file has no such column'),
        ("[monotone]\nincome = 2", "monotone must give 1 or -1 for a column"),
        ('protected = ["income"]\n[monotone]\nincome = 1', "monotone income: it is no number that the model sees"),
        ('colour = "red"', "colour is no key"),
    ],
)
def test_a_wrong_map_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    """Of lists and tables as of single columns."""
    (tmp_path / "m.toml").write_text(f'application_id = "id"\nis_default = "y"\n{text}\n')

    with pytest.raises(ScoregateError) as told:
        read_map(tmp_path / "m.toml", ["id", "y", "income"])
    assert said in told.value.detail
