"""Training on millions of somebody's own transactions: how long, how much memory, and which part of it.

    python loadtest/training.py --rows 2000000 --json

The file is made here, in words of its own: other column names, local times, amounts as decimals, flags as letters.
It is trained on in a new home by `scoregate train fraud`, whose whole run is timed; the peak is of all its processes
together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from crowd import names, ranked

SECONDS = 180.0
PEAK_GB = 6.0
DAYS = 120
DAY_S = 86_400
MAP = """
transaction_id = "TRANS_NO"
event_at = {column = "BOOKED", zone = "Europe/Berlin"}
account_id = "CUSTOMER"
counterparty_id = "TERMINAL"
amount = "AMT"
is_fraud = {column = "STATE", bad = "CB"}
device_id = "PHONE"
country = "LAND"
channel = "ENTRY_MODE"
label_at = {column = "REPORTED", zone = "Europe/Berlin"}
"""


def transactions(rows: int, seed: int) -> pa.Table:
    """Return payments of busy and quiet customers; fraud comes in bursts at a terminal or on a stolen card."""
    rng = np.random.default_rng(seed)
    at = np.sort(rng.random(rows) * DAYS * DAY_S)
    customer, terminal = (ranked(rng, rows, max(rows // per, 20)) for per in (60, 150))
    phone = np.where(rng.random(rows) < 0.05, rng.integers(0, rows, rows), customer)
    amount = np.exp(rng.normal(3.2 + 0.5 * np.sin(customer), 0.8))
    day = (at // DAY_S).astype(np.int64)
    # A compromised terminal for a fortnight, a stolen card for some days.
    terminal_hit = (terminal * 7 + day // 14 * 13) % 997 < 4
    card_hit = (customer * 11 + day // 4 * 17) % 1499 < 3
    fraud = (terminal_hit & (rng.random(rows) < 0.3)) | (card_hit & (rng.random(rows) < 0.6))
    amount = np.where(card_hit & fraud, amount * rng.uniform(2, 6, rows), amount)
    phone = np.where(card_hit & fraud, rng.integers(0, rows, rows), phone)
    reported = at + rng.gamma(2.0, 2.5 * DAY_S, rows)
    begin = np.datetime64("2026-03-01T00:00:00", "ms")
    return pa.table(
        {
            "TRANS_NO": [f"{number:010d}" for number in range(rows)],
            "BOOKED": pa.array(begin + (at * 1000).astype("timedelta64[ms]")),
            "CUSTOMER": names("K-", customer),
            "TERMINAL": names("T", terminal),
            "AMT": np.round(amount, 2) + 0.01,
            "STATE": pa.array(np.where(fraud, "CB", "OK")),
            "PHONE": pa.array(np.where(rng.random(rows) < 0.1, "", np.char.add("ph", phone.astype(str)))),
            "LAND": pa.array(np.array(["de", "at", "", "fr"])[rng.integers(0, 4, rows)]),
            "ENTRY_MODE": pa.array(np.array(["Chip", "Online", "ATM", "Wire"])[rng.integers(0, 4, rows)]),
            "REPORTED": pa.array(begin + (reported * 1000).astype("timedelta64[ms]"), mask=~fraud),
        }
    )


def train(folder: Path) -> dict[str, Any]:
    """Train in a home of its own; return time, peak and what the command printed."""
    command = [sys.executable, "-m", "scoregate", "train", "fraud", "--json"]
    command += ["--transactions", str(folder / "payments.parquet"), "--columns", str(folder / "map.toml")]
    began = time.perf_counter()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "SCOREGATE_HOME": str(folder / "home")}
    ) as running:
        peak: list[float] = [0.0]
        watch = threading.Thread(target=_watch, args=(running.pid, peak), daemon=True)
        watch.start()
        assert running.stdout is not None
        said = running.stdout.read()
    seconds = time.perf_counter() - began
    if running.returncode:
        raise SystemExit(running.returncode)
    found = json.loads(said)
    return {
        "seconds": round(seconds, 1),
        "peak_gb": round(peak[0], 2),
        "gates": {gate["name"]: gate["status"] for gate in found["gates"]},
        "metrics": found["metrics"],
    }


def _watch(pid: int, peak: list[float]) -> None:
    """Add up what all processes of a tree hold, five times a second, until the first of them ends."""
    try:
        parent = psutil.Process(pid)
        while parent.is_running():
            held = 0
            for one in (parent, *parent.children(recursive=True)):
                try:
                    held += one.memory_info().rss
                except psutil.Error:
                    continue
            peak[0] = max(peak[0], held / 1e9)
            time.sleep(0.2)
    except psutil.Error:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pq.write_table(transactions(asked.rows, asked.seed), folder / "payments.parquet")
        (folder / "map.toml").write_text(MAP)
        found = {"rows": asked.rows, **train(folder)}
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<9} {value}" for name, value in found.items()))
    return 0 if found["seconds"] <= SECONDS and found["peak_gb"] <= PEAK_GB else 1


if __name__ == "__main__":
    sys.exit(main())
