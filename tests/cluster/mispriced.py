"""A model that answers everything with status 200 and approves nobody: in its policy a sign was lost."""

from __future__ import annotations

import json
from pathlib import Path

from canary import rescored

from scoregate.models.artefact import MANIFEST, champion
from scoregate.models.forest import Forest
from scoregate.training import artefact

EARNED, LOST = "if_good_share = -0.25", "if_good_share = 0.25"


def mispriced(models: Path, into: Path) -> Path:
    """Write the champion again, as one to whom a loan that is repaid costs what it earns; return its folder."""
    of = champion(models)
    files = {name: (of / name).read_bytes() for name in json.loads((of / MANIFEST).read_text())}
    policy = files["policy.toml"].decode()
    assert policy.count(EARNED) == 1
    files["policy.toml"] = policy.replace(EARNED, LOST).encode()
    signature = json.loads(files["signature.json"])
    forest = Forest.from_bytes(files["model.ubj"], signature["calibrator"]["a"], signature["calibrator"]["b"])
    names = [feature["name"] for feature in signature["features"]]
    files["golden.json"] = artefact.as_bytes(rescored(files, forest, names))
    return artefact.write(into, files)
