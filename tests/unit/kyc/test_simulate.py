"""The stream of applications: the same whenever asked, and neither clean nor easy."""

from __future__ import annotations

import ast
import datetime as dt
import importlib
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kyc import identities, simulate

SEED = 11
FIRST = dt.date(2025, 3, 1)
DAYS = 28


@pytest.fixture(scope="module")
def days() -> list[pa.Table]:
    return [simulate.day(FIRST + dt.timedelta(days=i), SEED) for i in range(DAYS)]


@pytest.fixture(scope="module")
def stream(days: list[pa.Table]) -> pa.Table:
    return pa.concat_tables(days)


def test_a_day_alone_is_the_day_in_order(days: list[pa.Table]) -> None:
    """A day depends on its date and seed only, not on what was made before it."""
    simulate._episodes.cache_clear()

    assert days[17].equals(simulate.day(FIRST + dt.timedelta(days=17), SEED))


def test_another_seed_is_another_world(days: list[pa.Table]) -> None:
    """No application, device or person is shared between seeds."""
    other = simulate.day(FIRST, SEED + 1)

    for column in ("application_id", "device_id", "document_number"):
        assert set() == set(days[0][column].to_pylist()) & set(other[column].to_pylist())


def test_rows_lie_in_their_day_in_order(days: list[pa.Table]) -> None:
    """Every event is within its UTC day, sorted by time, in the stated schema."""
    for i, table in enumerate(days):
        at = table["event_at"].to_pylist()
        assert simulate.SCHEMA == table.schema
        assert sorted(at) == at
        assert {FIRST + dt.timedelta(days=i)} == {moment.date() for moment in at}


def test_application_ids_are_unique(stream: pa.Table) -> None:
    """No id comes twice, on any day."""
    assert stream.num_rows == pc.count_distinct(stream["application_id"]).as_py()


def test_volume_and_share_of_bad_are_as_stated(stream: pa.Table) -> None:
    """About 500 applications a day, of which two to three in a hundred are bad, of every kind."""
    share = pc.mean(stream["is_bad"].cast(pa.float64())).as_py()
    kinds = Counter(stream["kind"].to_pylist())

    assert 400 < stream.num_rows / DAYS < 600
    assert 0.018 < share < 0.033
    assert set(simulate.KINDS) == set(kinds)
    assert min(kinds.values()) > 25


def test_only_bad_applications_have_a_kind_and_a_later_label(stream: pa.Table) -> None:
    """An investigation ends days after the event, and nobody investigates the honest."""
    bad = stream.filter(stream["is_bad"])
    honest = stream.filter(pc.invert(stream["is_bad"]))

    assert honest.num_rows == honest["kind"].null_count == honest["label_at"].null_count
    assert 0 == bad["kind"].null_count
    lag_s = pc.seconds_between(bad["event_at"], bad["label_at"]).to_numpy()
    assert lag_s.min() > 86_400
    assert 4 < np.median(lag_s) / 86_400 < 14


def test_episodes_outlast_a_day(stream: pa.Table) -> None:
    """What one day begins goes on later: bad devices and honest homes both come back on other days."""
    for column, kind in (("device_id", "shared_device"), ("phone", "synthetic_identity"), ("address", None)):
        rows = stream.filter(pc.is_null(stream["kind"]) if kind is None else pc.equal(stream["kind"], kind))
        dates: dict[str, set[dt.date]] = {}
        for value, at in zip(rows[column].to_pylist(), rows["event_at"].to_pylist(), strict=True):
            dates.setdefault(value, set()).add(at.date())
        assert max(len(on) for on in dates.values()) > 1


def test_honest_people_share_and_slip_too(stream: pa.Table) -> None:
    """Sharing, wrong digits, foreign networks and throw-away mail are no proof of fraud."""
    honest = stream.filter(pc.invert(stream["is_bad"]))
    devices = Counter(honest["device_id"].to_pylist())
    documents = Counter(honest["document_number"].to_pylist())
    wrong = [number for number in honest["document_number"].to_pylist() if not identities.document_holds(number)]
    abroad = pc.not_equal(honest["ip_country"], honest["document_country"])
    thrown = [mail for mail in honest["email"].to_pylist() if mail.rpartition("@")[2] in identities.DISPOSABLE]

    assert 0.05 < sum(n for n in devices.values() if n > 1) / honest.num_rows < 0.35
    assert max(devices.values()) > 20
    assert 0.03 < sum(n - 1 for n in documents.values()) / honest.num_rows < 0.10
    assert 0.004 < len(wrong) / honest.num_rows < 0.03
    assert 0.1 < pc.mean(abroad.cast(pa.float64())).as_py() < 0.3
    assert 0 < len(thrown) / honest.num_rows < 0.02


def test_shops_and_halls_share_more_than_a_family_could(stream: pa.Table) -> None:
    """A clerk's telephone and a hall's address come back, letter by letter, under more names than a family has."""
    honest = stream.filter(pc.invert(stream["is_bad"]))
    for column in ("phone", "address"):
        names: dict[str, set[str]] = {}
        for value, name in zip(honest[column].to_pylist(), honest["name"].to_pylist(), strict=True):
            names.setdefault(value, set()).add(identities.name_key(name))
        assert max(len(people) for people in names.values()) > 4


def test_most_bad_applications_look_right_by_themselves(stream: pa.Table) -> None:
    """A wrong check digit finds few of them, and finds more honest people than it finds fraud of other kinds."""
    bad = stream.filter(stream["is_bad"])
    wrong = [not identities.document_holds(number) for number in bad["document_number"].to_pylist()]

    assert 0.02 < np.mean(wrong) < 0.3


def test_names_come_in_many_scripts(stream: pa.Table) -> None:
    """Accents and other scripts than Latin are part of the traffic."""
    names = stream["name"].to_pylist()

    assert np.mean([not name.isascii() for name in names]) > 0.1
    assert any("\u0400" <= name[0] <= "\u04ff" for name in names)


def test_the_folder_never_imports_itself_by_name() -> None:
    """Inside the folder imports are relative, so that a copy under another name never reads the original."""
    folder = Path(simulate.__file__).parent
    found = [node for file in folder.glob("*.py") for node in ast.walk(ast.parse(file.read_text("utf-8")))]
    roots = {alias.name for node in found if isinstance(node, ast.Import) for alias in node.names}
    roots |= {node.module or "" for node in found if isinstance(node, ast.ImportFrom) and not node.level}

    assert folder.name not in {root.partition(".")[0] for root in roots}


def test_a_copy_under_another_name_is_the_same_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in the folder knows what the folder is called."""
    shutil.copytree(
        Path(simulate.__file__).parent, tmp_path / "onboarding_copy", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.syspath_prepend(tmp_path)
    copy = importlib.import_module("onboarding_copy.simulate")

    assert simulate.day(FIRST, SEED).equals(copy.day(FIRST, SEED))
