"""Somebody's own applications: what a row lacks is not known, nothing personal is written, links are found."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import foreign
from kyc import imports
from kyc.contract import EXAMPLE, Request
from kyc.features import FEATURES, LINKS, REQUEST, entities, vector
from scoregate.errors import ScoregateError
from scoregate.features import FeatureRow
from scoregate.hashing import KeyedHash
from scoregate.training.imports import columns, files
from scoregate.training.imports.columns import Checked

HASHED = KeyedHash(b"k" * 32)
MAP = {"address": "address", "phone": "phone", "email": "email", "device": "device_id", "ip_country": "ip_country"}
AT = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def checked(**changes: object) -> Checked:
    """The example twice: once with everything, once with what every request has alone."""
    whole = {ours: EXAMPLE[theirs] for ours, theirs in MAP.items()}
    whole |= {"document": EXAMPLE["document_number"], "document_country": EXAMPLE["document_country"], **changes}
    rows = {name: pa.array([value, None], pa.string()) for name, value in whole.items()}
    return Checked(
        {
            "application_id": pa.array(["a", "b"]),
            "name": pa.array([EXAMPLE["name"]] * 2),
            "birth_date": pa.array([dt.date(1989, 4, 23)] * 2),
            "event_at": pa.array([AT] * 2, columns.UTC_US),
            **rows,
        }
    )


def own(rows: pa.Table, place: int) -> dict[str, float]:
    return {name: rows[name][place].as_py() for name in REQUEST}


def test_a_whole_row_is_seen_as_its_request_would_be() -> None:
    """The same features and the same keys, so that serving finds what the file counted."""
    rows = imports.rows(checked(), HASHED, 0)
    request = Request.model_validate({**EXAMPLE, "event_at": AT})
    expected = dict(zip(FEATURES, vector(request, FeatureRow(), AT.timestamp()), strict=True))

    assert {name: expected[name] for name in REQUEST} == own(rows, 0)
    assert entities(request, HASHED) == {key: rows[key][0].as_py() for key in entities(request, HASHED)}


def test_what_a_row_lacks_is_not_known() -> None:
    """No key that others without it would share, and nan where a feature needs it."""
    rows = imports.rows(checked(), HASHED, 0)
    known = {name for name, value in own(rows, 1).items() if not np.isnan(value)}

    assert {"age_years", "name_scripts", "hour_utc"} == known
    assert {None} == {rows[key][1].as_py() for key in ("phone_key", "email_key", "device_key", "document_key")}


def test_a_phone_without_its_country_says_nothing_of_countries() -> None:
    """A national number begins with digits that would read as another country's code."""
    rows = imports.rows(checked(phone="0151 12345678"), HASHED, 0)

    assert np.isnan(own(rows, 0)["phone_document_differ"])
    assert np.isnan(own(rows, 0)["country_differences"])
    assert 0.0 == own(imports.rows(checked(phone="0049 151 12345678"), HASHED, 0), 0)["phone_document_differ"]


def test_an_hour_that_was_made_up_is_not_learned() -> None:
    """Times that stand for the order of a file have no hour."""
    found = checked().with_made("event_at", pa.array([AT] * 2, columns.UTC_US))

    assert np.isnan(own(imports.rows(found, HASHED, 0), 0)["hour_utc"])


def test_nothing_personal_stays_without_the_private_columns() -> None:
    """What is written holds keyed hashes alone."""
    written = str(imports.rows(checked(), HASHED, 0).drop_columns(list(imports.PRIVATE)).to_pylist())

    assert [] == [value for value in (*EXAMPLE.values(), "'a'", "1989") if str(value) in written and value != "DE"]


def test_a_golden_request_is_nobody() -> None:
    """Its id is hashed, and the person is the example."""
    row = imports.rows(checked(), HASHED, 0).to_pylist()[0]
    request = imports.stand_in({**row, "name": "Somebody Else"})

    assert EXAMPLE["name"] == request.name
    assert HASHED("application", "a") == request.application_id


def test_rows_without_name_or_birth_date_are_left_out() -> None:
    """No request may lack them."""
    found = Checked({"name": pa.array(["a", None, "c"]), "birth_date": pa.array([dt.date(1990, 1, 1)] * 2 + [None])})

    assert [True, False, False] == imports.bounds(found)[1].to_pylist()


def test_a_foreign_file_is_read_by_its_map(tmp_path: Path) -> None:
    """Names and addresses of several columns, dates as they are written there, local times, several codes for bad."""
    file, column_map = foreign.applications(tmp_path / "pedidos.csv", days=3), tmp_path / "map.toml"
    column_map.write_text(foreign.APPLICATION_MAP)
    found = columns.read_map(column_map, imports.KEYS, files.columns_of(file))
    rows = columns.read_checked(file, found, imports.KEYS).as_rows()

    assert (dt.date, 2) == (type(rows[0]["birth_date"]), rows[0]["name"].count(" "))
    assert dt.timedelta(0) == rows[0]["event_at"].utcoffset()
    assert {True, False} == {row["is_fraud"] for row in rows}
    assert any(row["email"] is None for row in rows)
    assert () == found.unnamed


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('name = {given = "NOME"}', r"name must be a column's name, a list of them, or \{given"),
        ('address = ["RUA", "BAIRRO"]', 'address = "BAIRRO": the file has no such column'),
        ('ignore = ["NADA"]', 'ignore = "NADA": the file has no such column'),
    ],
)
def test_a_map_that_does_not_fit_is_told(tmp_path: Path, line: str, message: str) -> None:
    """With the key and the column."""
    file, column_map = foreign.applications(tmp_path / "pedidos.csv", days=1), tmp_path / "map.toml"
    key = line.partition(" ")[0]
    kept = [one for one in foreign.APPLICATION_MAP.splitlines() if not one.startswith(key)]
    column_map.write_text("\n".join([*kept, line]))

    with pytest.raises(ScoregateError, match=message):
        columns.read_map(column_map, imports.KEYS, files.columns_of(file))


def test_a_date_that_is_none_stops(tmp_path: Path) -> None:
    """With the column and the number of rows."""
    file, column_map = foreign.applications(tmp_path / "pedidos.csv", days=1), tmp_path / "map.toml"
    column_map.write_text(foreign.APPLICATION_MAP.replace('%d/%m/%Y"}\nevent', '%Y-%m-%d"}\nevent'))
    found = columns.read_map(column_map, imports.KEYS, files.columns_of(file))

    with pytest.raises(ScoregateError, match=r'birth_date \("NASC"\) is no date in [0-9,]+ rows'):
        columns.read_checked(file, found, imports.KEYS)


def test_features_in_order() -> None:
    """Links come first, as the matrix has them."""
    assert FEATURES == (*LINKS, *REQUEST)
