"""The command: what a process imports, it has in its lock."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import re, sys
from importlib.metadata import packages_distributions

locked = set(re.findall(r"^([a-z0-9-]+)==", open(sys.argv.pop(1)).read(), re.MULTILINE))
absent = {
    module
    for module, distributions in packages_distributions().items()
    if module not in ("scoregate", *sys.stdlib_module_names)
    and not locked & {re.sub("[-_.]+", "-", name).lower() for name in distributions}
}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent - {"fraud", "credit", "kyc"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
import scoregate.__main__, scoregate.catalog, scoregate.streaming.run, scoregate.training.backfill, pyarrow.parquet

for service in scoregate.catalog.services():
    scoregate.catalog.part(service, "events")
scoregate.__main__.main(sys.argv[1:])
"""


def test_a_worker_needs_what_its_lock_has() -> None:
    """`features run`, with all services and what fills a lost store, imports nothing that is not in worker.lock."""
    lock = ROOT / "requirements" / "worker.lock"
    command = [sys.executable, "-c", SCRIPT, str(lock), "features", "run", "--help"]
    done = subprocess.run(command, cwd=ROOT / "services", capture_output=True, text=True, check=False)

    assert 0 == done.returncode, done.stderr
    assert "--shards" in done.stdout
