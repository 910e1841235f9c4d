"""What a ledger proves of itself: every decision replayed bit for bit, every tampering named, a person forgotten.

    make up && python loadtest/ledger_audit.py --decisions 10000 --store sqlite --store postgres --json

Starts replicas of every service with every model that the running stack has, some of them blind (without a feature
store, so that the rules decide), all on one ledger of their own. They answer golden requests under new ids. Then
`scoregate ledger` does the rest on that ledger: `replay` all, `verify`, `verify` copies that were tampered with in six
ways, `forget` somebody. The exit code is 1 when a replay differs, fewer were recorded than answered, an entry is not
named, or something of the person comes back. Signed last before the tampering is what ending a service signs; while it
runs, once in SCOREGATE_CHECKPOINT_S.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
from goldens import requests_of
from replicas import Replica, environment_of

from scoregate import catalog
from scoregate.settings import ROOT, Settings

sys.path.insert(0, str(ROOT / "tests"))

from ledger_tampering import TAMPERINGS, Database, PostgresDatabase, SqliteFile

from conftest import free_block
from postgres import Server, programs

SENDERS = 8
BLIND_SHARE = 0.2
NOWHERE = "redis://127.0.0.1:1/0"
Answer = dict[str, Any]


class Asked:
    """A ledger of its own, and the commands that are given about it."""

    def __init__(self, stack: Settings, database: Database, folder: Path) -> None:
        self._stack, self._database, self._folder = stack, database, folder
        self._ports = itertools.count(free_block(60))
        self._key = (stack.home / "demo.key").read_text().strip()
        self.sent = 0
        """Requests that `fill` sent: one that was recorded may end in 504, when its answer missed the deadline."""
        self._said = {
            "ledger_url": database.url,
            "checkpoint_dir": folder / "checkpoints",
            "checkpoint_key_file": folder / "checkpoint.key",
        }

    def fill(self, decisions: int) -> dict[str, list[tuple[dict[str, Any], Answer]]]:
        """Have so many requests answered; return them by service with their answers."""
        models = {service: self._models(service) for service in catalog.services()}
        kinds = [(service, model) for service, some in models.items() for model in some]
        answered: dict[str, list[tuple[dict[str, Any], Answer]]] = {service: [] for service in models}
        for service, model in kinds:
            for blind, share in ((False, 1 - BLIND_SHARE), (True, BLIND_SHARE)):
                with self._replica(service, model, blind=blind) as replica:
                    count = round(decisions / len(kinds) * share) + 1
                    answered[service] += asyncio.run(self._ask(replica, service, count))
        return answered

    def command(self, *words: str, url: str | None = None) -> tuple[int, Any]:
        """Give a `scoregate ledger` command; return its exit code, and what it printed, from JSON where it is that."""
        settings = self._stack.model_copy(update={**self._said, **({"ledger_url": url} if url else {})})
        ran = subprocess.run(
            [sys.executable, "-m", "scoregate", "ledger", *words],
            env=environment_of(settings),
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        try:
            return ran.returncode, json.loads(ran.stdout)
        except ValueError:
            return ran.returncode, ran.stdout + ran.stderr

    def tampered(self, service: str) -> dict[str, Any]:
        """Tamper with a copy in each way; return what `verify` names, and whether it is what was done."""
        chain = self._database.chain(service)
        found = {}
        for name, (tamper, places) in TAMPERINGS.items():
            copy = self._database.copied(name)
            tamper(copy, chain)
            code, said = self.command("verify", "--service", service, "--json", url=copy.url)
            named = said[service]["broken"]
            is_named = [one["writer"] for one in named] == [chain[0].writer] and named[0]["seq"] in places(chain)
            found[name] = {"exit_code": code, "named": named, "holds": code == 1 and is_named}
        return found

    def forgotten(self, service: str, field: str, asked: Sequence[tuple[dict[str, Any], Answer]]) -> dict[str, Any]:
        """Forget somebody; return what is left of it, and what a retry is told."""
        body, answer = asked[0]
        code, said = self.command("forget", service, "--field", field, "--value", body[field])
        decision_id = answer["decision_id"]
        verified, _ = self.command("verify", "--json")
        _, shown = self.command("show", decision_id)
        replayed, replay_said = self.command("replay", decision_id)
        with self._replica(service, self._models(service)[0]) as replica:
            headers = {"authorization": f"Bearer {self._key}"}
            read = httpx.get(f"{replica.url}/v1/{service}/decisions/{decision_id}", headers=headers)
            again = httpx.post(f"{replica.url}/v1/{service}/score", json=body, headers=headers)
        gone = body[field] not in str(shown) and body["transaction_id"] not in str(shown)
        return {
            "forget": str(said).strip(),
            "verify_exit_code": verified,
            "replay": str(replay_said).strip(),
            "read_status": read.status_code,
            "retry_status": again.status_code,
            "holds": (code, verified, replayed, read.status_code, again.status_code, gone) == (0, 0, 0, 404, 422, True)
            and "forgotten" in str(replay_said),
        }

    def _models(self, service: str) -> list[Path]:
        return sorted(path.parent for path in self._stack.models(service).glob("*/signature.json"))

    @contextmanager
    def _replica(self, service: str, model: Path, *, blind: bool = False) -> Iterator[Replica]:
        """Run one until the block ends; then it ends as it should, with a checkpoint."""
        store = {"store_url": NOWHERE} if blind else {}
        said = {**self._said, "model_dir": model, **store}
        port = next(self._ports)
        with Replica(self._stack, service, self._folder / f"replica-{port}", port, **said).running() as replica:
            yield replica

    async def _ask(self, replica: Replica, service: str, count: int) -> list[tuple[dict[str, Any], Answer]]:
        requests, run = itertools.cycle(requests_of(service, self._stack)), uuid.uuid4().hex[:8]
        key = catalog.part(service, "contract").Request.NATURAL_KEY
        bodies = ({**body, key: f"audit-{run}-{i}"} for i, body in zip(range(count), requests, strict=False))
        answered: list[tuple[dict[str, Any], Answer]] = []

        async def send(client: httpx.AsyncClient) -> None:
            for body in bodies:
                self.sent += 1
                response = await client.post(f"{replica.url}/v1/{service}/score", json=body)
                if response.status_code == 200:
                    answered.append((body, response.json()))

        headers = {"authorization": f"Bearer {self._key}"}
        async with httpx.AsyncClient(headers=headers, timeout=10.0) as client:
            await asyncio.gather(*(send(client) for _ in range(SENDERS)))
        return answered


def audited(stack: Settings, store: str, decisions: int) -> dict[str, Any]:
    with _database(store) as (database, folder):
        asked = Asked(stack, database, folder)
        answered = asked.fill(decisions)
        began_s = time.monotonic()
        code, replayed = asked.command("replay", "--since", "1d", "--json")
        replay_s = time.monotonic() - began_s
        verify_code, _ = asked.command("verify", "--json")
        total = sum(map(len, answered.values()))
        entries = sum(one["entries"] for one in replayed.values())
        differ = sum(one["differ"] for one in replayed.values())
        tampered, forgotten = asked.tampered("fraud"), asked.forgotten("fraud", "account_id", answered["fraud"])
    holds = (code, verify_code, differ) == (0, 0, 0) and total <= entries <= asked.sent
    return {
        "sent": asked.sent,
        "answered": total,
        "recorded": entries,
        "replayed": replayed,
        "replay_s": round(replay_s, 1),
        "differ": differ,
        "checkpoint_s": stack.checkpoint_s,
        "tampered": tampered,
        "forgotten": forgotten,
        "holds": holds and all(one["holds"] for one in tampered.values()) and forgotten["holds"],
    }


@contextmanager
def _database(store: str) -> Iterator[tuple[Database, Path]]:
    folder = Path(tempfile.mkdtemp(prefix="scoregate-audit-"))
    with ExitStack() as ending:
        ending.callback(shutil.rmtree, folder, ignore_errors=True)
        if store == "sqlite":
            yield SqliteFile(folder / "ledger.db"), folder
            return
        bin_ = programs()
        if bin_ is None:
            raise FileNotFoundError("PostgreSQL's programs are not in /usr/lib/postgresql/*/bin")
        folder.chmod(0o755)
        (folder / "postgres").mkdir()
        server = Server(bin_, folder / "postgres")
        ending.callback(server.stop)
        server.start()
        yield PostgresDatabase(server), folder


def lines(store: str, found: dict[str, Any]) -> Iterator[str]:
    for service, one in found["replayed"].items():
        said = f"{one['differ']} of {one['replayed']} replays differ, {one['fallbacks']} of them fallbacks"
        yield f"{store}: {service}: {said}, models {', '.join(one['models'])}"
    for name, one in found["tampered"].items():
        yield f"{store}: {name}: {'found' if one['holds'] else 'NOT FOUND'}: {one['named']}"
    yield f"{store}: forgotten: {found['forgotten']}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--decisions", type=int, default=10_000)
    parser.add_argument("--store", choices=("sqlite", "postgres"), action="append", help="sqlite without it")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = {store: audited(Settings(), store, asked.decisions) for store in asked.store or ["sqlite"]}
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], **found}, indent=2))
    else:
        print("\n".join(line for store, one in found.items() for line in lines(store, one)))
    return 0 if all(one["holds"] for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
