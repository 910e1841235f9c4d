"""Writes what is made of names and tables: Prometheus's rules, Grafana's dashboards, the list of metrics.

python -m deploy.generate
"""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from deploy.grafana import dashboards
from deploy.prometheus import rules

from deploy import documented

HERE = Path(__file__).parent
CHART = HERE.parent / "helm" / "scoregate" / "files"
"""Helm reads nothing outside a chart, so the chart has what is made here a second time."""
NOTE = "# Made by `python -m deploy.generate` from deploy/prometheus/rules.py.\n"


def files() -> dict[Path, str]:
    """Return every generated file and what it should hold."""
    made = {"prometheus/rules.yaml": NOTE + yaml.safe_dump(rules.groups(), sort_keys=False, width=120)}
    for name, dashboard in dashboards.dashboards().items():
        made[f"grafana/{name}.json"] = json.dumps(dashboard, indent=1) + "\n"
    twice = {folder / file: text for file, text in made.items() for folder in (HERE, CHART)}
    return {**twice, documented.PATH: documented.page()}


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
