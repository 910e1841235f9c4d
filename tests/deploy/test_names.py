"""Names of metrics: what is drawn, alerted on or written about is emitted, and what is emitted is drawn."""

from __future__ import annotations

import re
from pathlib import Path

from deploy.documented import meanings

from scoregate.telemetry import names

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "services" / "scoregate"
METRICS = {name for name in meanings() if name.startswith("scoregate_")}
ENDINGS = re.compile(r"_(total|bucket|sum|count)$")
MENTION = re.compile(r"\bscoregate_[a-z0-9_]+[a-z0-9]\b")
OURS = ("*.md", "*.yaml", "*.json")
NOT_METRICS = {"scoregate_test_home"}


def test_what_is_named_anywhere_is_emitted() -> None:
    """A query for a metric that nobody has is silent for ever."""
    pages = [ROOT / "README.md", *(p for ending in OURS for p in (ROOT / "deploy").rglob(ending))]
    pages += [path for folder in ("services", "loadtest") for path in (ROOT / folder).rglob("*.md")]
    mentioned = {(p.name, name) for p in pages for name in MENTION.findall(p.read_text())}
    unknown = {(p, name) for p, name in mentioned if name not in METRICS and ENDINGS.sub("", name) not in METRICS}

    assert len(mentioned) > 30
    assert set() == {(p, name) for p, name in unknown if name not in NOT_METRICS}


def test_every_metric_is_drawn() -> None:
    """A metric that no dashboard has is looked at by nobody."""
    drawn = " ".join(path.read_text() for path in (ROOT / "deploy" / "grafana").glob("*.json"))

    assert set() == {name for name in METRICS if name not in drawn}


def test_every_name_is_used_and_explained() -> None:
    """What is in names.py is emitted by code, and a metric's meaning stands below it."""
    code = " ".join(p.read_text() for p in LIBRARY.rglob("*.py") if p.name != "names.py")
    constants = [name for name in vars(names) if name.isupper()]

    assert [] == [name for name in constants if f"names.{name}" not in code]
    assert [] == [name for name, what in meanings().items() if name in METRICS and not what]
