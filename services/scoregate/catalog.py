"""The services of this house: every folder beside the library that has a `service.py`."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]


def services(root: Path | None = None) -> list[str]:
    """Names of the service folders, sorted."""
    return sorted(path.parent.name for path in (root or ROOT).glob("*/service.py"))


def part(service: str, name: str) -> ModuleType:
    """Import one module of a service, such as `contract` or `train`."""
    return import_module(f"{service}.{name}")
