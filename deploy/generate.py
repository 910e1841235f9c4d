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
NOTE = "# Made by `python -m deploy.generate` from deploy/prometheus/rules.py.\n"


def files() -> dict[Path, str]:
    """Return every generated file and what it should hold."""
    made = {HERE / "prometheus" / "rules.yaml": NOTE + yaml.safe_dump(rules.groups(), sort_keys=False, width=120)}
    for name, dashboard in dashboards.dashboards().items():
        made[HERE / "grafana" / f"{name}.json"] = json.dumps(dashboard, indent=1) + "\n"
    made[documented.PATH] = documented.page()
    return made


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text)
