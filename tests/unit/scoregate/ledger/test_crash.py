"""What is acknowledged outlives the crash of a machine, which loses everything that was not synced."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from loadtest.volume import CannotCrash, Volume

import scoregate
from scoregate.ledger.opening import open_ledger
from scoregate.ledger.segment_file import adopted

APPENDS = """
import asyncio, sys
from scoregate.ledger.opening import open_ledger
from unit.scoregate.ledger.kept import entry

async def main(url, folder):
    accepts = folder and {"segments": __import__("pathlib").Path(folder), "accept": True}
    ledger = await open_ledger(url, "fraud", **(accepts or {}))
    for start in range(0, 200, 10):
        await asyncio.gather(*(ledger.append(entry(n)) for n in range(start, start + 10)))
    print("all acknowledged", flush=True)
    await asyncio.sleep(60)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture
def volume(tmp_path: Path) -> Iterator[Volume]:
    try:
        made = Volume.made(tmp_path)
    except CannotCrash as problem:
        pytest.skip(f"no machine can crash here: {problem}")
    yield made
    made.close()


def crashed_after_appending(volume: Volume, url: str, folder: str = "") -> bool:
    """Let a process append, crash its machine once it has the answers; return whether what was not synced is gone."""
    tests = Path(__file__).parents[3]
    paths = os.pathsep.join(map(str, (Path(scoregate.__file__).parents[1], tests)))
    command = [sys.executable, "-c", APPENDS, url, folder]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}) as one:
        assert one.stdout
        assert "all acknowledged\n" == one.stdout.readline()
        volume.crash()
        one.kill()
    return volume.mount_again()


def test_a_file_outlives_a_crash(volume: Volume) -> None:
    """Every acknowledged decision is in the file that recovery leaves, and its chain holds."""
    url = f"sqlite:///{volume.path / 'fraud.db'}"
    assert crashed_after_appending(volume, url)

    async def story() -> tuple[int, list[object]]:
        ledger = await open_ledger(url, "fraud")
        try:
            return await ledger.count(), [*await ledger.verify()]
        finally:
            await ledger.close()

    assert (200, []) == asyncio.run(story())


def test_a_segment_outlives_a_crash(volume: Volume) -> None:
    """Every decision that was accepted while the server was down is in the segment that recovery leaves."""
    nowhere = "postgresql://postgres@127.0.0.1:1/postgres"
    assert crashed_after_appending(volume, nowhere, str(volume.path))

    (left,) = adopted(volume.path, "fraud")

    assert {f"decision-{n}" for n in range(200)} == {held.entry.decision_id for held in left.read()}
    left.close()
