"""Faults under load: nothing that was acknowledged is missing from the ledger, no key is decided twice, chains hold.

    make up && python loadtest/ledger_kills.py --rounds 200 --json
    python loadtest/ledger_kills.py --rounds 0 --keys 1000

Starts scoring processes and a PostgreSQL server of its own, and uses models, keys and feature store of the running
stack. Each round does one harm at one site while payments are scored, and every request is sent until it is answered,
to the other replica whenever one fails. Afterwards the site's ledger is read and held against what was answered.

  sqlite     two replicas on one file: `kill -9` of one; a crash of their machine
  postgres   two replicas on one server: `kill -9` of one, of the server, of both; a crash of everybody's machine
  segment    one replica that accepts decisions while the server is down: killed for good then, or its machine crashed,
             and its segment drained by a successor

A crash is that of a file system: what was not synced is gone (see volume.py). Where the platform does not allow it this
is said, and these rounds are left out. `--keys` sends so many payments 50 times at once each, with kills in between.
The exit code is 1 when an acknowledged decision is lost, a key was decided twice or answered in two ways, another body
under an answered key was decided, a chain does not verify, or a crash kept what was never synced.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scoregate.ledger.archive import Place, Wanted, open_archive
from scoregate.ledger.audit import audit
from scoregate.ledger.checkpoint_files import read
from scoregate.ledger.segment import CONFLICT
from scoregate.settings import ROOT, Settings

sys.path.insert(0, str(ROOT / "tests"))

from ledger_sites import SITES, TROUBLE_S, Site
from ledger_traffic import SERVICE

from conftest import free_block

CALM_S = 0.7
PORTS = 20
"""Of one site."""
COUNTED = ("sent_again", "asked_again", "differing", "refused", "taken")
"""What traffic counts by itself."""


@dataclass(slots=True)
class Found:
    """What became of one round. `decisions` are those that its ledger has; `left` segments that a dead process left."""

    site: str
    harm: str
    acknowledged: int = 0
    decisions: int = 0
    sent_again: int = 0
    asked_again: int = 0
    lost: int = 0
    doubled: int = 0
    differing: int = 0
    refused: int = 0
    taken: int = 0
    broken: int = 0
    kept_unsynced: int = 0
    left: int = 0
    seconds: float = 0.0

    @property
    def holds(self) -> bool:
        bad = (self.lost, self.doubled, self.differing, self.refused, self.taken, self.broken, self.kept_unsynced)
        return not any(bad)


class Trial:
    """Rounds at one site: load, harm, and the comparison."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._decided: dict[str, str] = {}
        self._harms = itertools.cycle(site.possible)

    def round(self) -> Found:
        """Do the next harm under load, and hold the ledger against what was answered."""
        harm = next(self._harms)
        return self._judged(harm, lambda: self._under_load(harm))

    def duplicates(self, keys: int, at_once: int, kills: int) -> Found:
        """Ask for each of so many decisions many times at once, with kills in between."""
        return self._judged(f"{at_once} at once, {kills} kills", lambda: self._duplicated(keys, at_once, kills))

    async def _under_load(self, harm: str) -> None:
        async with self.site.traffic.flowing():
            await asyncio.sleep(CALM_S)
            await asyncio.to_thread(self.site.harm, harm)
            self.site.aim()
            await asyncio.sleep(TROUBLE_S)

    async def _duplicated(self, keys: int, at_once: int, kills: int) -> None:
        for part in range(kills + 1):
            some = keys * (part + 1) // (kills + 1) - keys * part // (kills + 1)
            asked = asyncio.create_task(self.site.traffic.duplicates(some, at_once))
            if part < kills:
                await asyncio.to_thread(self.site.wait)
                await asyncio.sleep(CALM_S)
                await asyncio.to_thread(self.site.kill_one)
            await asked

    def _judged(self, harm: str, load: Any) -> Found:
        site, traffic = self.site, self.site.traffic
        site.wait()
        began_s, since_s = time.monotonic(), time.time() - 1
        before, were = len(traffic.answers), {name: getattr(traffic, name) for name in COUNTED}
        work: Coroutine[Any, Any, None] = load()
        asyncio.run(work)
        site.settle()
        answered = {json.loads(answer)["decision_id"] for answer in [*traffic.answers.values()][before:]}
        recorded = self._recorded(since_s)
        return Found(
            site.name,
            harm,
            acknowledged=len(answered),
            decisions=len(recorded),
            lost=len(answered - recorded.keys()),
            doubled=self._doubled(recorded),
            broken=self.broken(since_s),
            kept_unsynced=int(site.kept_unsynced),
            left=site.left,
            seconds=round(time.monotonic() - began_s, 1),
            **{name: getattr(traffic, name) - were[name] for name in COUNTED},
        )

    def _recorded(self, since_s: float) -> dict[str, str]:
        """Return the natural key of each decision since then, by its id."""
        found: dict[str, str] = {}
        after = None
        with closing(open_archive(self.site.url)) as archive:  # type: ignore[type-var]
            while page := archive.search(SERVICE, Wanted(since_s=since_s), after=after):
                found.update((one.entry.decision_id, one.entry.natural_key) for one in page)
                after = Place.of(page[-1])
        return found

    def _doubled(self, recorded: dict[str, str]) -> int:
        """Count keys that another decision has, of any round."""
        doubled = 0
        for decision_id, natural_key in recorded.items():
            key = natural_key.partition(CONFLICT)[0]
            doubled += self._decided.setdefault(key, decision_id) != decision_id
        return doubled

    def broken(self, since_s: float | None = None) -> int:
        """Verify; count what is broken, and what of the checkpoints cannot be believed."""
        checkpoints = read(self.site.checkpoints, SERVICE, since_s=since_s)
        audited = audit(self.site.url, SERVICE, checkpoints, since_s=since_s)
        for one in (*audited.broken, *checkpoints.faults):
            print(self.site.name, one, file=sys.stderr)
        return len(audited.broken) + len(checkpoints.faults)

    def end(self) -> dict[str, Any]:
        """Hold everything against the whole ledger once more."""
        answers = self.site.traffic.answers.values()
        recorded = self._recorded(0.0)
        return {
            "acknowledged": len(answers),
            "decisions": len(recorded),
            "missing": sum(json.loads(answer)["decision_id"] not in recorded for answer in answers),
            "broken": self.broken(),
            "cannot_crash": self.site.cannot_crash,
        }


@contextlib.contextmanager
def opened(stack: Settings, wanted: Sequence[str], seed: int) -> Iterator[list[Trial]]:
    """Start the sites that are wanted, and take everything away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="scoregate-kills-"))
    # A server among them has a user of its own.
    folder.chmod(0o755)
    trials = []
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        block = free_block(PORTS * len(SITES))
        for number, kind in enumerate(kind for kind in SITES if kind.name in wanted):
            ports = itertools.cycle(range(block + number * PORTS, block + (number + 1) * PORTS))
            site = kind(stack, folder / kind.name, ports, seed)
            ending.callback(site.close)
            site.open()
            trials.append(Trial(site))
        yield trials


def run(stack: Settings, asked: argparse.Namespace) -> tuple[list[Found], dict[str, dict[str, Any]]]:
    """Do all rounds, from site to site in turn: while one mends, another is harmed."""
    found = []
    with opened(stack, asked.site or [kind.name for kind in SITES], asked.seed) as trials:
        rounds = [trials[i % len(trials)].round for i in range(asked.rounds)]
        rounds += [
            lambda trial=trial: trial.duplicates(asked.keys, asked.at_once, asked.kills)  # type: ignore[misc]
            for trial in trials
            if asked.keys and trial.site.replica_count > 1
        ]
        for one in rounds:
            found.append(one())
            print(found[-1], file=sys.stderr, flush=True)
        return found, {trial.site.name: trial.end() for trial in trials}


def lines(found: Sequence[Found], ends: dict[str, dict[str, Any]]) -> Iterator[str]:
    counted = ("acknowledged", *COUNTED[:2], "lost", "doubled", *COUNTED[2:], "broken")
    for site, harm in dict.fromkeys((each.site, each.harm) for each in found):
        some = [each for each in found if (each.site, each.harm) == (site, harm)]
        said = ", ".join(f"{name} {sum(getattr(each, name) for each in some)}" for name in counted)
        yield f"{site}: {harm} ({len(some)} times): {said}"
    for site, end in ends.items():
        yield f"{site}: {end['missing']} of {end['acknowledged']} missing at the end, {end['broken']} broken"
        if end["cannot_crash"]:
            yield f"{site}: no machine was crashed: {end['cannot_crash']}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--site", choices=[kind.name for kind in SITES], action="append", help="only this")
    parser.add_argument("--keys", type=int, default=0, help="payments that are sent many times at once, per site")
    parser.add_argument("--at-once", type=int, default=50)
    parser.add_argument("--kills", type=int, default=3, help="replicas killed meanwhile")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    began_s = time.monotonic()
    found, ends = run(Settings(), asked)
    if asked.json:
        report = {"load": os.getloadavg()[0], "seconds": round(time.monotonic() - began_s), "ends": ends}
        print(json.dumps({**report, "rounds": [asdict(each) for each in found]}, indent=2))
    else:
        print("\n".join(lines(found, ends)))
    holds = all(each.holds for each in found) and not any(end["missing"] or end["broken"] for end in ends.values())
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
