"""A model of somebody's own file is what `scoregate up` serves, and its example is what the gateway answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import foreign
from conftest import Stack
from scoregate.settings import Settings
from scoregate.training.registry import crown


@pytest.fixture
def lender(stack: Stack, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Credit trained on a stranger's loans and made the champion; the one before comes back."""
    champion = stack.home / "models" / "credit" / "champion"
    before = champion.read_text().strip()
    (tmp_path / "map.toml").write_text(foreign.LOAN_MAP)
    words = ("--applications", str(foreign.loans(tmp_path / "loans.csv")), "--columns", str(tmp_path / "map.toml"))
    trained = stack.scoregate("train", "credit", *words, "--promote", "--json")
    assert trained.returncode == 0, trained.stderr
    yield json.loads(trained.stdout)
    crown(Settings(home=stack.home), "credit", before, "tests", "the model before")
    restarted = stack.scoregate("restart", "credit")
    assert restarted.returncode == 0, restarted.stdout + restarted.stderr


def test_up_serves_what_a_strangers_file_made(stack: Stack, lender: dict[str, Any]) -> None:
    """The printed curl is of its own columns and is answered by it; columns that it does not know are refused."""
    up = stack.scoregate("up")
    assert up.returncode == 0, up.stdout + up.stderr
    printed = next(line for line in up.stdout.splitlines() if line.startswith("curl") and "/v1/credit/" in line)
    body = json.loads(shlex.split(printed)[-1])
    answer = stack.post("credit", {**body, "application_id": lender["version"]})
    said = answer.json()

    assert (200, lender["version"], "model", "full") == (
        answer.status_code,
        said["model"]["version"],
        said["source"],
        said["confidence"],
    )
    assert {"revenu", "taux", "logement", "dept"} == body["facts"].keys()
    refused = stack.post("credit", {"application_id": "another", "facts": {"revenu": 1_000.0, "sexe": "F"}})
    assert (422, True) == (refused.status_code, "sexe" in refused.text)
