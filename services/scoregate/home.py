"""Where the local stack keeps its state: the one setting that is also read without the others.

`settings.py` takes 0.2 s of CPU to import, on a busy machine a second, which a rollback does not have.
"""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_HOME = Path(__file__).resolve().parents[2] / ".scoregate"


def home() -> Path:
    """Return `Settings().home`."""
    return Path(os.environ.get("SCOREGATE_HOME", DEFAULT_HOME)).resolve()
