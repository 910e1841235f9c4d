"""`scoregate train` and `scoregate kyc link` on files that no code of ours wrote: other names, codes, gaps, zones."""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import foreign
from scoregate import catalog
from scoregate.__main__ import main
from scoregate.contract import Identifier, ScoreRequest
from scoregate.models.artefact import Artefact
from scoregate.scoring.goldens import check_goldens
from scoregate.settings import Settings
from scoregate.training.imports.log import LOG

METRICS = {"roc_auc", "average_precision", "recall_at_fpr_0.005", "ks", "gini", "brier", "ece"}
GATES = ["data", "leakage", "floor", "champion", "calibration", "fairness", "stability", "golden"]
ALONE = ("is_fraud", "event_at", "label_at")
UNLABELLED = "\n".join(line for line in foreign.APPLICATION_MAP.splitlines() if not line.startswith(ALONE))


@dataclass(frozen=True)
class Desk:
    """A home of its own, and the files of strangers beside it."""

    home: Path
    files: Path

    def scoregate(self, *words: str) -> tuple[int, str, str]:
        """Run a command; return its code, what it printed, and what it said meanwhile."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(list(words))
        return code, out.getvalue(), err.getvalue()

    def train(self, service: str, file: Path, column_map: str, *more: str) -> tuple[int, str, str]:
        (self.files / "map.toml").write_text(column_map)
        option = "--transactions" if service == "fraud" else "--applications"
        return self.scoregate("train", service, option, str(file), "--columns", str(self.files / "map.toml"), *more)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """One home for all: applying the feature repository takes seconds."""
    folder = tmp_path_factory.mktemp("foreign")
    files = folder / "files"
    files.mkdir()
    foreign.payments(files / "payments.csv")
    foreign.applications(files / "applications.csv")
    foreign.loans(files / "loans.csv")
    foreign.as_parquet(files / "applications.csv", files / "bare.parquet", without=("SIT", "CRIADO"))
    before = os.environ.get("SCOREGATE_HOME")
    os.environ["SCOREGATE_HOME"] = str(folder / "home")
    yield Desk(folder / "home", files)
    os.environ.pop("SCOREGATE_HOME") if before is None else os.environ.update(SCOREGATE_HOME=before)


def trained(desk: Desk, service: str, file: str, column_map: str, *more: str) -> tuple[dict[str, Any], str]:
    code, out, err = desk.train(service, desk.files / file, column_map, "--json", *more)
    assert code == 0, err
    return json.loads(out), err


def served(found: dict[str, Any], service: str) -> Artefact:
    """Load an artefact as serving does, golden requests and all."""
    artefact = Artefact.load(Path(found["artefact"]))
    code, request = catalog.part(service, "features"), catalog.part(service, "contract").Request
    if artefact.columns is not None:
        code, request = artefact.columns, artefact.columns.request_type(ScoreRequest, Identifier)
    check_goldens(artefact, code, request)
    return artefact


@pytest.mark.parametrize(
    ("service", "file", "column_map", "more"),
    [
        ("fraud", "payments.csv", foreign.PAYMENT_MAP, ("--delay-days", "5")),
        ("credit", "loans.csv", foreign.LOAN_MAP, ()),
        ("kyc", "applications.csv", foreign.APPLICATION_MAP, ()),
    ],
)
def test_a_strangers_file_becomes_an_artefact(
    desk: Desk, service: str, file: str, column_map: str, more: tuple[str, ...]
) -> None:
    """One object says its figures with their intervals, its gates in order, where it lies; serving accepts it."""
    found, said = trained(desk, service, file, column_map, *more)
    metrics, gates = found["metrics"], {gate["name"]: gate for gate in found["gates"]}
    artefact, report = served(found, service), Path(found["report"]).read_text()

    assert metrics.keys() >= METRICS | ({"card_precision_at_100"} if service == "fraud" else set())
    assert all(
        {"value", "low", "high"} == one.keys() and one["low"] <= one["value"] <= one["high"] for one in metrics.values()
    )
    assert metrics["roc_auc"]["low"] > 0.6
    assert GATES == list(gates)
    assert {"passed", "skipped"} >= {gate["status"] for gate in gates.values()}, gates
    assert found["champion"]
    assert artefact.version == found["version"]
    assert ("fairness" in report, "src=" in report) == (True, False)
    assert "passed" == gates["fairness"]["status"] if service == "credit" else "skipped" == gates["fairness"]["status"]
    assert said.count("with 95 % intervals") == 1


def test_applications_without_labels_and_times_are_ranked(desk: Desk) -> None:
    """Of a Parquet file; nothing can be measured, and the gates say what they skipped."""
    found, said = trained(desk, "kyc", "bare.parquet", UNLABELLED)
    status = {gate["name"]: gate["status"] for gate in found["gates"]}

    assert {} == found["metrics"]
    assert {"skipped"} == {status[name] for name in ("leakage", "floor", "champion", "calibration")}
    assert "its rows are taken in their order" in said
    assert served(found, "kyc").metrics["alerts"]


def test_everything_that_was_made_is_for_its_owner_alone(desk: Desk) -> None:
    """Artefacts, reports, days of streams and the books; the first two tests have made them."""
    made = [path for path in desk.home.rglob("*") if path.is_file() and "registry.db" not in path.name]

    assert {"models", "reports", "data"} <= {path.relative_to(desk.home).parts[0] for path in made}
    assert {} == {str(path): oct(path.stat().st_mode) for path in made if path.stat().st_mode & 0o077}


def test_no_identifier_of_the_file_is_written(desk: Desk) -> None:
    """Days and artefacts hold keyed hashes: no account, document, telephone, mailbox or name."""
    written = b"".join(path.read_bytes() for path in desk.home.rglob("*.json"))
    for day in (desk.home / "data").rglob("*.parquet"):
        written += str(pq.read_table(day).to_pylist()).encode()
    told = [b"'K17'", b"B/17", b"P-0000", b"uol.com.br", b"+5511", b"Silva", "José".encode(), b"tablet 7"]

    assert [] == [one for one in told if one in written]


def test_each_reading_is_in_the_log_with_its_digest(desk: Desk) -> None:
    """Who read which file for what; the artefact names the same digests."""
    lines = [json.loads(line) for line in (desk.home / LOG).read_text().splitlines()]
    champion = Settings().models("credit") / (Settings().models("credit") / "champion").read_text().strip()
    brought = json.loads((champion / "import.json").read_text())

    assert {"fraud", "credit", "kyc"} <= {line["service"] for line in lines}
    assert all(line["user"] and len(line["file_sha256"]) == 64 for line in lines)
    assert brought["file_sha256"] in {line["file_sha256"] for line in lines if line["service"] == "credit"}


def _payments(change: Callable[[list[list[str]]], None], into: Path, source: Path) -> Path:
    """Copy the payments, changed."""
    rows = [line.split("\t") for line in source.read_text("latin-1").splitlines()]
    change(rows)
    into.write_text("\n".join("\t".join(row) for row in rows) + "\n", "latin-1")
    return into


def _same_id(rows: list[list[str]]) -> None:
    rows[7][0] = rows[3][0]


def _no_time(rows: list[list[str]]) -> None:
    rows[2][1] = rows[9][1] = "gestern"


def _leak(rows: list[list[str]]) -> None:
    """Give every fraud a sum of its own making, as a column that was corrected afterwards would have."""
    for row in rows[1:]:
        row[4] = "777777.77" if row[5] == "9" else row[4]


@pytest.mark.parametrize(
    ("change", "column_map", "said"),
    [
        (_same_id, foreign.PAYMENT_MAP, 'transaction_id ("Beleg") is not unique: the same id stands in 2 rows (3, 7)'),
        (_no_time, foreign.PAYMENT_MAP, 'event_at ("Buchung") is no time in 2 rows (2, 9)'),
        (_leak, foreign.PAYMENT_MAP, "amount_minor (AUC 1.000)"),
        (len, foreign.PAYMENT_MAP.replace("Konto", "Kunde"), 'account_id = "Kunde": the file has no such column'),
        (len, foreign.PAYMENT_MAP.replace('"9"', '"7"'), 'is_fraud ("Status") never has the value that the map calls'),
    ],
)
def test_a_faulty_file_stops_and_is_told(desk: Desk, change: Any, column_map: str, said: str) -> None:
    """With its column and rows, one line, no artefact, and none of its values."""
    models = sorted(Settings().models("fraud").glob("*"))
    file = _payments(change, desk.files / "faulty.csv", desk.files / "payments.csv")
    code, out, err = desk.train("fraud", file, column_map, "--delay-days", "5")

    assert (1, "") == (code, out)
    assert said in err.splitlines()[-1]
    assert "gestern" not in err
    assert models == sorted(Settings().models("fraud").glob("*"))


def test_a_planted_column_that_looks_ahead_is_caught(desk: Desk) -> None:
    """What was written after a loan had gone bad is named, with the number of rows."""
    lines = (desk.files / "loans.csv").read_text("latin-1").splitlines()
    planted = [
        lines[0] + ",recouvre",
        *(f"{one},{'8' if one.endswith(('CTX', 'impayé')) else '0'}" for one in lines[1:]),
    ]
    (desk.files / "planted.csv").write_text("\n".join(planted) + "\n", "latin-1")
    code, _, err = desk.train("credit", desk.files / "planted.csv", foreign.LOAN_MAP)

    assert 1 == code
    assert "planted.csv: recouvre (AUC 1.000) alone tells bad from good in 1,500 rows" in err.splitlines()[-1]


def test_imported_days_are_not_trained_on_without_their_file(desk: Desk) -> None:
    """Nothing logged their windows, so every request would look like a first one; the way on and back is told."""
    code, _, err = desk.scoregate("train", "fraud")

    assert 1 == code
    assert "train on it again (--columns MAP.toml and the file), or delete" in err


def test_people_who_apply_again_are_linked(desk: Desk) -> None:
    """Through a slip in the name, a move and another telephone; pairs have a score and a group, and hold no person."""
    planted = foreign.twice(desk.files / "twice.csv", desk.files / "applications.csv")
    (desk.files / "map.toml").write_text(foreign.APPLICATION_MAP)
    out = desk.files / "pairs.parquet"
    words = ("--applications", str(desk.files / "twice.csv"), "--columns", str(desk.files / "map.toml"))
    code, said, err = desk.scoregate("kyc", "link", *words, "--out", str(out), "--json")
    pairs = pq.read_table(out)
    found = {tuple(sorted(pair)) for pair in zip(pairs["left"].to_pylist(), pairs["right"].to_pylist(), strict=True)}
    hits = len(found & planted)

    assert code == 0, err
    assert (["left", "right", "score", "group"], 0o600) == (pairs.column_names, out.stat().st_mode & 0o777)
    assert len(found) == json.loads(said)["pairs"]
    assert hits >= 0.9 * len(planted)
    assert hits >= 0.9 * len(found)
    assert all(0.5 <= score <= 1 for score in pairs["score"].to_pylist())
