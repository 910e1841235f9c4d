"""Searching and exporting: what is wanted comes once, page by page, and what was forgotten stays away."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import pytest

from scoregate.errors import ArtefactError, LedgerUnavailable
from scoregate.ledger.archive import Place, Wanted, open_archive
from scoregate.ledger.export import export
from scoregate.ledger.forgetting import Person, forget_person
from unit.scoregate.ledger.kept import START_S, Kept, entry


@pytest.mark.parametrize(
    ("wanted", "numbers"),
    [
        (Wanted(), [1, 2, 3, 4]),
        (Wanted(since_s=START_S + 2, until_s=START_S + 4), [2, 3]),
        (Wanted(outcome="decline"), [3]),
        (Wanted(model="mm"), [1, 2, 3]),
        (Wanted(arm="canary"), [4]),
        (Wanted(source="fallback"), [2]),
        (Wanted(tags=["k1:0"]), [2, 4]),
        (Wanted(tags=["k1:d1", "k1:d4"]), [1, 4]),
        (Wanted(tags=["k1:0"], source="fallback"), [2]),
        (Wanted(tags=["nobody"]), []),
    ],
)
def test_what_is_wanted_is_found(kept: Kept, wanted: Wanted, numbers: list[int]) -> None:
    """Each filter leaves what it names, all of them together what all name."""
    kept.fill(
        1,
        entries=[
            entry(2, source="fallback"),
            entry(3, outcome="decline"),
            entry(4, arm="canary", model_digest="n" * 64),
        ],
    )

    with kept.archive() as archive:
        found = [one.entry.decision_id for one in archive.search("fraud", wanted)]
        assert ([f"decision-{number}" for number in numbers], len(numbers)) == (found, archive.count("fraud", wanted))
        assert [] == archive.search("kyc", wanted)


@pytest.mark.parametrize("newest_first", [False, True])
def test_pages_hold_everything_once(kept: Kept, newest_first: bool) -> None:
    """Pages follow one another without a gap or a repetition, also where times are equal and writers two."""
    kept.fill(*range(5))
    kept.fill(entries=[entry(number, decided_at=START_S + number // 2) for number in range(5, 10)])
    pages, after = [], None

    with kept.archive() as archive:
        while page := archive.search("fraud", Wanted(), after=after, limit=3, newest_first=newest_first):
            pages += page
            after = Place.parse(str(Place.of(page[-1])))

    places = [Place.of(one) for one in pages]
    assert sorted(places, reverse=newest_first) == places
    assert {f"decision-{number}" for number in range(10)} == {one.entry.decision_id for one in pages}
    assert 10 == len(pages)


def test_a_decision_comes_back_whole(kept: Kept) -> None:
    """One is shown as it was written, with its place and format."""
    kept.fill(1, 2)

    with kept.archive() as archive:
        found = archive.get("fraud", "decision-2")
        assert archive.get("kyc", "decision-2") is None
        assert archive.get("fraud", "decision-\0") is None

    assert found
    assert (entry(2), 2, 1, []) == (found.entry, found.seq, found.format, found.forgotten)


def test_an_export_has_what_is_kept(kept: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row per decision, in pages; what was forgotten is null and said; the file gets its name when it is whole."""
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("scoregate.ledger.export.PAGE_ENTRIES", 2)
    kept.fill(1, 2, entries=[entry(3, vector=struct.pack("<2d", 1.5, math.nan))])

    with kept.archive() as archive:
        forget_person(archive, "fraud", Person(["k1:0"], []))
        assert 3 == export(archive, "fraud", Wanted(), tmp_path / "out.parquet")

    one, two, three = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    assert ["decision-1", "decision-2", "decision-3"] == [row["decision_id"] for row in (one, two, three)]
    assert ("k1:1", "txn-1", ["r1"], 0.25, []) == (
        one["personal_account_id"],
        one["natural_key"],
        one["reasons"],
        one["score"],
        one["forgotten"],
    )
    assert (1.5, True) == (three["vector"][0], math.isnan(three["vector"][1]))
    hidden = (
        "natural_key",
        "idempotency_key",
        "vector",
        "answer",
        "reasons",
        "personal_account_id",
        "personal_device_id",
    )
    assert {None} == {two[name] for name in hidden}
    assert "vector" in two["forgotten"]
    assert [] == [path.name for path in tmp_path.glob(".*.part")]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """A missing file is not made by looking for it, and a page must begin where another ended."""
    with pytest.raises(LedgerUnavailable):
        open_archive(f"sqlite:///{tmp_path}/none.db")
    assert [] == [*tmp_path.iterdir()]
    with pytest.raises(ArtefactError):
        open_archive("mysql://x")
    with pytest.raises(ArtefactError):
        Place.parse("yesterday")
