"""The verdict over HTTP, as Argo's web metric asks for it."""

from __future__ import annotations

import asyncio
import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from scoregate.ledger.sqlite import SqliteLedger
from scoregate.rollout import canary as records
from scoregate.rollout.answering import Looker, server
from scoregate.rollout.canary import Canary
from scoregate.settings import Settings

POLICY = (Path(__file__).parents[4] / "services" / "fraud" / "policy.toml").read_text()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    settings = Settings(home=tmp_path, base_port=64_000)
    model = settings.models("fraud") / "abc"
    model.mkdir(parents=True)
    (model / "policy.toml").write_text(POLICY)
    (settings.models("fraud") / "champion").write_text("abc\n")
    running = server(settings, 0)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{running.server_address[1]}"
    running.shutdown()
    thread.join()
    running.server_close()


def ask(url: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(url) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as problem:
        return problem.code, json.loads(problem.read())


def test_without_a_canary_there_is_no_verdict(url: str) -> None:
    """404, so that nobody takes it for a promotion."""

    assert 404 == ask(f"{url}/fraud/verdict")[0]
    assert 404 == ask(f"{url}/fraud")[0]


def test_a_ledger_that_cannot_be_read_gives_no_verdict(url: str, tmp_path: Path) -> None:
    """503: what cannot be known is neither promote nor rollback."""
    records.write(tmp_path, Canary("fraud", "abc", 10, 1.0, 1.0, {}, "anna", ""))

    assert 503 == ask(f"{url}/fraud/verdict")[0]


def test_a_canary_of_which_little_is_known_is_held(url: str, tmp_path: Path) -> None:
    """The verdict and every gate, over a real ledger."""
    records.write(tmp_path, Canary("fraud", "abc", 10, 1.0, 1.0, {}, "anna", ""))
    asyncio.run(_open_and_close(tmp_path / "ledger" / "fraud.db"))
    status, said = ask(f"{url}/fraud/verdict")

    assert (200, "hold", "abc") == (status, said["verdict"], said["model"])
    assert len(said["gates"]) == 8  # type: ignore[arg-type]


def test_who_weighs_a_canary_elsewhere_names_it(url: str, tmp_path: Path) -> None:
    """Argo has no record here: what comes from the first question with an id on is that canary's evidence."""
    asyncio.run(_open_and_close(tmp_path / "ledger" / "fraud.db"))
    status, said = ask(f"{url}/fraud/verdict?canary=7d9f-1")

    assert (200, "hold", "7d9f-1") == (status, said["verdict"], said["model"])
    assert 404 == ask(f"{url}/nothing/verdict?canary=7d9f-1")[0]


def test_who_looks_at_another_step_disturbs_nobody(tmp_path: Path) -> None:
    """The evidence on a step goes on from its first question, whatever else is asked in between."""
    asyncio.run(_open_and_close(tmp_path / "ledger" / "fraud.db"))
    looker = Looker(Settings(home=tmp_path, base_port=64_000), None, {})
    for id_ in ("first", "second", "first"):
        looker.look("fraud", id_)
    since_s = {id_: gathering.canary.since_s for (_, id_), gathering in looker._known.items()}

    assert since_s["first"] < since_s["second"]


async def _open_and_close(path: Path) -> None:
    await (await SqliteLedger.open(path, "fraud")).close()
