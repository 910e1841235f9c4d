"""The immutable folder a model comes in: named by its digest, verified before anything in it is used."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from scoregate.errors import ArtefactCorrupt, GoldenMismatch
from scoregate.models import Signature
from scoregate.models.forest import Forest
from scoregate.models.tabular import FILE as COLUMNS
from scoregate.models.tabular import Tabular
from scoregate.values import frozen

MANIFEST = "MANIFEST.json"
CHAMPION = "champion"
GOLDEN_TOLERANCE = 1e-6
"""Largest difference of a golden score: treelite and XGBoost agree to this, platforms differ in less."""


def manifest_digest(files: dict[str, str]) -> str:
    """Digest of an artefact: sha256 over its canonical manifest (file → sha256)."""
    return hashlib.sha256(json.dumps(files, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def champion(models: Path) -> Path:
    """Return the folder that `champion` names in a service's folder of artefacts.

    Raises:
        ArtefactCorrupt: there is no champion.
    """
    try:
        name = (models / CHAMPION).read_text().strip()
    except OSError as problem:
        raise ArtefactCorrupt(f"no model has been trained for this service: {models} has no champion") from problem
    return models / name


@frozen
class Artefact:
    """A verified artefact, in memory. `policy` is the text of its policy.toml.

    `columns`: what a model of somebody's own columns asks, in place of the service's contract and features.
    """

    digest: str
    signature: Signature
    forest: Forest
    policy: str
    golden: list[dict[str, Any]]
    metrics: dict[str, Any]
    columns: Tabular | None = None

    @property
    def version(self) -> str:
        return self.digest[:12]

    @property
    def policy_digest(self) -> str:
        return hashlib.sha256(self.policy.encode()).hexdigest()

    @classmethod
    def load(cls, folder: Path) -> Artefact:
        """Read a folder and check every file against its digest.

        Raises:
            ArtefactCorrupt: a file is missing, unreadable, or not what the manifest says.
        """
        try:
            files: dict[str, str] = json.loads((folder / MANIFEST).read_text())
            content = {name: (folder / name).read_bytes() for name in files}
        except (OSError, ValueError) as problem:
            raise ArtefactCorrupt(f"the artefact {folder.name} cannot be read: {problem}") from problem
        for name, expected in files.items():
            if hashlib.sha256(content[name]).hexdigest() != expected:
                raise ArtefactCorrupt(f"{name} of the artefact {folder.name} differs from its digest")
        try:
            signature = Signature.from_json(json.loads(content["signature.json"]))
            forest = Forest.from_bytes(content["model.ubj"], *signature.calibrator)
            golden = json.loads(content["golden.json"])
            metrics = json.loads(content["metrics.json"])
            policy = content["policy.toml"].decode()
            columns = Tabular.from_json(json.loads(content[COLUMNS])) if COLUMNS in content else None
        except (KeyError, ValueError, RuntimeError) as problem:
            raise ArtefactCorrupt(f"the artefact {folder.name} is not complete: {problem}") from problem
        if forest.width != len(signature.features):
            raise ArtefactCorrupt(f"the forest has {forest.width} features, the signature {len(signature.features)}")
        return cls(manifest_digest(files), signature, forest, policy, golden, metrics, columns)


def check_golden(name: str, expected: float, actual: float) -> None:
    """Compare one golden score.

    Raises:
        GoldenMismatch: they differ by more than GOLDEN_TOLERANCE.
    """
    if not abs(expected - actual) <= GOLDEN_TOLERANCE:
        raise GoldenMismatch(f"golden request {name} scored {actual:.9f}, accepted with {expected:.9f}")
