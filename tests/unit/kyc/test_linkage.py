"""The same person is found through slips, swaps and moves; a family and a namesake are not one person."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import foreign
from kyc.linkage import PARTS, Person, groups, same_person, steps
from scoregate.__main__ import main

ANA: dict[str, Any] = {
    "name": "Ana María Souza",
    "birth_date": dt.date(1990, 4, 12),
    "document": "123.456.789-00",
    "address": "Rua das Flores 12, Recife",
    "phone": "+55 11 91234-5678",
    "email": "ana.souza77@uol.com.br",
    "device": "h1",
}


def crowd(count: int = 1_500) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    people = []
    for i in range(count):
        given, one, two = (names[rng.integers(len(names))] for names in (foreign.GIVEN, foreign.FAMILY, foreign.FAMILY))
        people.append(
            {
                "name": f"{given} {one} {two}",
                "birth_date": dt.date(1950, 1, 1) + dt.timedelta(days=int(rng.integers(20_000))),
                "document": f"{rng.integers(10**11):011d}",
                "address": f"{foreign.STREETS[i % 6]} {rng.integers(900)}, {foreign.CITIES[i % 5]}",
                "phone": f"+5511{rng.integers(10**9):09d}",
                "email": f"{given}{rng.integers(10**6)}@bol.com.br".lower(),
                "device": f"h{rng.integers(10**9)}",
            }
        )
    return people


CROWD = [Person.of(row) for row in crowd()]


def linked(**changes: Any) -> bool:
    """Whether Ana and who differs from her are one person, among a crowd."""
    people = [Person.of(ANA), Person.of({**ANA, **changes}), *CROWD]
    left, right, _ = same_person(people, 1)
    return (0, 1) in set(zip(left.tolist(), right.tolist(), strict=True))


MOVED = {"address": "Av. Paulista 1, Salvador", "phone": "+5571988887777", "device": "h2"}
OTHER = {"document": "987.654.321-99"}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Ana Maria Suoza", **MOVED},
        {"name": "Souza, Ana María", "birth_date": dt.date(1990, 12, 4), **MOVED},
        {"birth_date": dt.date(1990, 4, 21), "email": None, **OTHER},
        {**MOVED, "email": "outra@bol.com.br"},
        {**OTHER, "email": None, "phone": None, "device": None},
    ],
)
def test_the_same_person_is_found(changes: dict[str, Any]) -> None:
    """Misspelt, swapped, moved, or with another document."""
    assert linked(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Pedro Souza", "birth_date": dt.date(1988, 1, 30), **OTHER},
        {"name": "Lucas Souza", "birth_date": dt.date(1990, 4, 12), **OTHER},
        {**OTHER, **MOVED, "birth_date": dt.date(1961, 9, 3), "email": "ana.souza12@uol.com.br"},
    ],
)
def test_others_are_not(changes: dict[str, Any]) -> None:
    """A husband who shares home, telephone and mailbox; a twin; a namesake."""
    assert not linked(**changes)


def test_a_household_is_one_part_of_the_evidence() -> None:
    """Sharing address, telephone, mailbox and device counts once."""
    people = [Person.of(row) for row in (ANA, {**ANA, "name": "Pedro Lima", **OTHER, "birth_date": None})]

    assert [[1, 0, 1, 3]] == steps(people, np.array([0]), np.array([1])).tolist()
    assert [len(part.usual) for part in PARTS] == [4, 4, 3, 3]


def test_alerts_join_what_is_shared_and_alike_names_at_home() -> None:
    """A family at one address is not one alert, a misspelt second try is."""
    rows = pa.table(
        {
            "name": ["Ana Souza", "Ana Suoza", "Pedro Souza", "Joao Lima"],
            "address_key": ["x", "x", "x", None],
            "device_key": [None, None, "d", "d"],
            **{key: pa.nulls(4, pa.string()) for key in ("document_key", "phone_key", "email_key")},
        }
    )

    assert [0, 0, 1, 1] == groups(rows).tolist()


def test_the_command_writes_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Left, right, score and group, for the owner alone; a planted second application is among them."""
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path / "home"))
    file, column_map, out = (
        foreign.applications(tmp_path / "p.csv", days=10),
        tmp_path / "m.toml",
        tmp_path / "o.parquet",
    )
    lines = file.read_text().splitlines()
    again = lines[7].split(";")
    again[0], again[1], again[6] = "P-AGAIN", again[1][:-1] + "x", "Rua Nova, 1"
    file.write_text("\n".join([*lines, ";".join(again)]) + "\n")
    column_map.write_text(foreign.APPLICATION_MAP)
    command = ["kyc", "link", "--applications", str(file), "--columns", str(column_map), "--out", str(out), "--json"]

    assert 0 == main(command)
    pairs = pq.read_table(out).to_pylist()
    assert {"left", "right", "score", "group"} == set(pairs[0])
    assert ("P-000006", "P-AGAIN") in {(pair["left"], pair["right"]) for pair in pairs}
    assert 0o600 == out.stat().st_mode & 0o777
    assert len(pairs) == json.loads(capsys.readouterr().out)["pairs"]
