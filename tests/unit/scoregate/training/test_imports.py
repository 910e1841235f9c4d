"""Somebody's own file: what its map promises is checked before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from scoregate.errors import ScoregateError
from scoregate.training.imports import columns, files, leak
from scoregate.training.imports.columns import Key
from scoregate.training.imports.policy import without

KEYS = (
    Key("payment", "id"),
    Key("at", "time"),
    Key("who", "name"),
    Key("amount", "amount"),
    Key("bad", "flag"),
    Key("place", "text", required=False),
)
MAP = 'payment = "ID"\nat = "T"\nwho = "W"\namount = "A"\nbad = "B"\n'
GOOD = ["ID;T;W;A;B;P", "1;2024-01-01T00:00:00+02:00;x;1.50;0;", "2;2024-01-02 10:00:00;y;2;TRUE;BE"]


def read(folder: Path, lines: list[str], text: str = MAP) -> columns.Checked:
    (folder / "f.csv").write_text("\n".join(lines) + "\n")
    (folder / "m.toml").write_text(text)
    found = columns.read_map(folder / "m.toml", KEYS, files.columns_of(folder / "f.csv"))
    return columns.read_checked(folder / "f.csv", found, KEYS)


def test_a_good_file_is_read_as_its_map_says(tmp_path: Path) -> None:
    """An aware time is kept, a naive one is UTC, and that is said once."""
    found = read(tmp_path, GOOD, MAP + 'place = "P"\n')

    assert ["2023-12-31T22:00:00+00:00", "2024-01-02T10:00:00+00:00"] == [
        t.isoformat() for t in found["at"].to_pylist()
    ]
    assert [[1.5, 2.0], [False, True], [None, "BE"]] == [found[n].to_pylist() for n in ("amount", "bad", "place")]
    assert ('at ("T") has no time zone: taken as UTC',) == found.notes


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1;2024-01-03;z;1;0;", 'payment ("ID") is not unique: the same id stands in 2 rows (1, 3)'),
        (";2024-01-03;z;1;0;", 'payment ("ID") is empty in row 3'),
        ("3;gestern;z;1;0;", 'at ("T") is no time; other than ISO 8601 needs {column = …, format = …} in row 3'),
        ("3;2024-01-03;NA;1;0;", 'who ("W") is empty in row 3'),
        ("3;2024-01-03;z;-0.01;0;", 'amount ("A") is negative in row 3'),
        ("3;2024-01-03;z;1,50;0;", 'amount ("A") is not a number in row 3'),
        ("3;2024-01-03;z;1;2;", 'bad ("B") is not 0, 1, true or false in row 3'),
    ],
)
def test_a_fault_names_column_and_rows(tmp_path: Path, line: str, said: str) -> None:
    """And none of the values, which may be personal."""
    with pytest.raises(ScoregateError) as told:
        read(tmp_path, [*GOOD, line])

    assert f"f.csv: {said}" == told.value.detail


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    """One run is enough to learn what has to be mended."""
    with pytest.raises(ScoregateError, match=r"amount .* in 2 rows \(1, 2\); bad .* in row 2"):
        read(tmp_path, [GOOD[0], "1;2024-01-01;x;-1;0;", "2;2024-01-01;x;-1;maybe;"])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (MAP + 'colour = "X"\n', "colour is no key; there are payment, at, who, amount, bad, place"),
        (MAP.replace("A", "Z"), 'amount = "Z": the file has no such column; it has ID, T, W, A, B, P'),
        (MAP.replace('bad = "B"\n', ""), "bad is not named"),
        (MAP.replace('"W"', "3"), "who must be a column's name"),
        (MAP.replace('"T"', '{column = "T", colour = 1}'), "at takes no colour"),
    ],
)
def test_a_wrong_map_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    """Before the file is read."""
    with pytest.raises(ScoregateError) as told:
        read(tmp_path, GOOD, text)

    assert f"m.toml does not fit: {said}" == told.value.detail


@pytest.mark.parametrize(
    ("written", "option"),
    [
        ("1704103200", ""),
        ("1704103200000", ""),
        ("2024-01-01T10:00:00Z", ""),
        ("2024-01-01 11:00:00.000+0100", ""),
        ("01.01.2024 11:00", ', format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin"'),
        ("2024-01-01T11:00:00", ', zone = "Europe/Berlin"'),
    ],
)
def test_times_are_written_in_many_ways(tmp_path: Path, written: str, option: str) -> None:
    """Ten o'clock on new year's day, UTC, each of them."""
    found = read(tmp_path, [GOOD[0], f"1;{written};x;1;1;"], MAP.replace('"T"', f'{{column = "T"{option}}}'))

    assert ["2024-01-01T10:00:00+00:00"] == [t.isoformat() for t in found["at"].to_pylist()]


def test_a_label_may_be_a_value_of_a_column(tmp_path: Path) -> None:
    """Everything else in the column is good."""
    lines = [GOOD[0], "1;2024-01-01;x;1;Charged Off;", "2;2024-01-01;x;1;Paid;"]
    found = read(tmp_path, lines, MAP.replace('"B"', '{column = "B", bad = "charged off"}'))

    assert [True, False] == found["bad"].to_pylist()


def test_parquet_is_read_as_csv_is(tmp_path: Path) -> None:
    """Typed columns, and whole numbers that nulls made floats of."""
    at = pd.to_datetime(["2024-01-01", "2024-01-02"]).tz_localize("America/Lima")
    frame = pd.DataFrame({"ID": [7.0, 8.0], "T": at, "W": [1, 2], "A": [1, 2.5], "B": [True, False], "P": [None, 3.0]})
    frame.to_parquet(tmp_path / "f.parquet")
    (tmp_path / "m.toml").write_text(MAP + 'place = "P"\n')
    found = columns.read_map(tmp_path / "m.toml", KEYS, files.columns_of(tmp_path / "f.parquet"))
    checked = columns.read_checked(tmp_path / "f.parquet", found, KEYS)

    assert [["7", "8"], ["1", "2"], [None, "3"]] == [checked[n].to_pylist() for n in ("payment", "who", "place")]
    assert 5 == checked["at"][0].as_py().hour
    assert () == checked.notes


def test_a_planted_leak_is_caught() -> None:
    """Written after the outcome, be it a number, that it is missing, or two ends of a scale; noise is left alone."""
    rng = np.random.default_rng(1)
    label = (rng.random(4_000) < 0.05).astype(int)
    planted: dict[str, Any] = {
        "recovered": np.where(label == 1, rng.random(4_000) + 1, rng.random(4_000)),
        "closed_on": np.where(label == 1, rng.random(4_000), np.nan),
        "ends": np.where(label == 1, rng.choice([-9.0, 9.0], 4_000), rng.normal(0, 1, 4_000)),
    }
    honest = {"noise": rng.random(4_000), "some": rng.normal(label, 1), "ids": np.arange(4_000.0)}

    assert set(planted) == {name for name, _ in leak.leaks(planted | honest, label)}
    with pytest.raises(ScoregateError, match=r"loans.csv: recovered \(AUC 1.000\) alone .* in 4,000 rows"):
        leak.check({"recovered": planted["recovered"]} | honest, label, "loans.csv")


def test_a_policy_requires_only_what_the_data_had() -> None:
    """A view without data would be missing for ever, and every answer of low confidence."""
    text = """outcomes = ["yes", "no"]
[cost.yes]
if_bad_minor = 5
[cost.no]
if_good_minor = 1
[low_confidence]
required = [
    "seen",
    "unseen",
]
at_least = "no"
[fallback]
outcome = "no"
[known]
seen = "a"
unseen = "b"

[reasons.unseen]
text = "Not seen"
features = ["x"]
"""
    from scoregate.policy import Policy

    found = Policy.from_toml(without(text, {"unseen"}))

    assert (frozenset({"seen"}), {"seen": "a"}) == (found.required, dict(found.known))
    assert {"unseen": "Not seen"} == found.texts


def test_names_that_requests_cannot_carry_become_hashes() -> None:
    """The others stay, because requests ask by them."""
    found = columns.Checked({"shop": pa.array(["A-1", "Ä 2", "x" * 65])})

    assert ["A-1", "shop Ä 2", "shop " + "x" * 65] == found.as_identifier(
        "shop", "shop", lambda k, v: f"{k} {v}"
    ).to_pylist()
