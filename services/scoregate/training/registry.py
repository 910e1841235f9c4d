"""Runs, versions, aliases and approvals in MLflow; artefacts stay where serving reads them.

    run       one training: parameters, metrics, gates, lineage, and who read which data
    version   one artefact, found by its digest; tags say whether its gates passed, who approved it, when and why
    alias     `challenger` is eligible for a canary, `champion` is served

What serving reads is the file `champion` beside the artefacts; the alias follows it.
Importing MLflow takes seconds: only inside functions.
"""

from __future__ import annotations

import json
import logging
import os
import pwd
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from scoregate.errors import ScoregateError
from scoregate.models.artefact import CHAMPION, MANIFEST, Artefact
from scoregate.settings import Settings, quiet_libraries
from scoregate.training import artefact
from scoregate.training.gates import Gate, first_failed, from_json
from scoregate.values import frozen

CHALLENGER: Final = "challenger"
GATES: Final = "gates.json"


@frozen
class Version:
    """One registered artefact; `aliases` are champion and challenger, `tags` as they stand in MLflow."""

    service: str
    version: str
    number: int
    run_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]


def reader() -> str:
    """Name the account of the operating system that reads the data."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"


def gates_of(folder: Path) -> list[Gate]:
    """Return what the gates found, after checking every file of the artefact against its digest.

    Raises:
        ArtefactCorrupt: the artefact is not what its manifest says.
        ScoregateError: it was made without gates.
    """
    Artefact.load(folder)
    if GATES not in json.loads((folder / MANIFEST).read_text()):
        raise ScoregateError(f"{folder.name} was trained without gates: train it again")
    return from_json(json.loads((folder / GATES).read_text()))


def refusal(service: str, version: str, gate: Gate) -> str:
    """Say which gate stops a version, with its figure."""
    return f"{service} {version} is not promoted: the {gate.name} gate failed: {gate.sentence}"


class Registry:
    """MLflow at the place that the settings name, without its automatic logging."""

    def __init__(self, settings: Settings) -> None:
        quiet_libraries()
        # The database names approvers and data: for its owner alone.
        before = os.umask(0o077)
        try:
            from mlflow.tracking import MlflowClient

            # MLflow tells of every table that it makes; importing it sets its level anew.
            for name in ("mlflow", "alembic"):
                logging.getLogger(name).setLevel(logging.WARNING)
            settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._client = MlflowClient(tracking_uri=settings.mlflow, registry_uri=settings.mlflow)
            self._client.search_experiments(max_results=1)
        finally:
            os.umask(before)
        self._settings = settings

    def record(
        self, service: str, folder: Path, *, params: Mapping[str, Any], metrics: Mapping[str, float], lineage: Any
    ) -> Version:
        """Record one training that made an artefact; the same artefact is one version, however often it is made."""
        from mlflow.entities import Metric, Param

        failed = first_failed(gates_of(folder))
        verdict = {"gates": "passed" if failed is None else "failed", "failed_gate": failed.name if failed else ""}
        tags = {**{name: str(value) for name, value in lineage.items()}, **verdict, "digest": folder.name}
        now_ms = int(time.time() * 1_000)
        run_id = self._client.create_run(self._experiment(service), run_name=folder.name, tags=tags).info.run_id
        self._client.log_batch(
            run_id,
            metrics=[Metric(name, value, now_ms, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        self._client.set_terminated(run_id)
        if (known := self._find(service, folder.name)) is not None:
            return known
        self._ensure_model(service)
        made = self._client.create_model_version(service, source=folder.resolve().as_uri(), run_id=run_id, tags=tags)
        return Version(service, folder.name, int(made.version), run_id, (), tags)

    def versions(self, service: str) -> list[Version]:
        """Return all versions of a service, newest first."""
        from mlflow.exceptions import MlflowException

        try:
            aliases: Mapping[str, str] = self._client.get_registered_model(service).aliases
        except MlflowException:
            return []
        return [
            Version(
                service,
                one.tags.get("digest", ""),
                int(one.version),
                one.run_id or "",
                tuple(sorted(alias for alias, number in aliases.items() if str(number) == str(one.version))),
                dict(one.tags),
            )
            for one in sorted(
                self._client.search_model_versions(f"name='{service}'"), key=lambda v: int(v.version), reverse=True
            )
        ]

    def resolve(self, service: str, name: str | None) -> Version:
        """Return the version that a digest, or the beginning of one, names; the newest without a name.

        Raises:
            ScoregateError: there is none, or more than one.
        """
        every = self.versions(service)
        found = [v for v in every if v.version.startswith(name)] if name else every[:1]
        if len(found) != 1:
            known = ", ".join(v.version for v in every[:5]) or "none"
            raise ScoregateError(f"{len(found)} versions of {service} are called {name or 'newest'}; there are {known}")
        return found[0]

    def promote(self, service: str, name: str | None, who: str, why: str) -> Version:
        """Make a version eligible for a canary: it becomes the challenger.

        Raises:
            ScoregateError: a gate of it failed, or nobody approves.
        """
        version = self.resolve(service, name)
        self._must_pass(version, who, why)
        if CHAMPION in version.aliases:
            raise ScoregateError(f"{service} {version.version} is the champion already")
        self._approve(version, "approved", who, why)
        self._client.set_registered_model_alias(service, CHALLENGER, str(version.number))
        return self.resolve(service, version.version)

    def demote(self, service: str, name: str | None, who: str, why: str) -> Version:
        """Take a version's eligibility away; without a name, the challenger's.

        Raises:
            ScoregateError: it is not the challenger.
        """
        challenger = next((v.version for v in self.versions(service) if CHALLENGER in v.aliases), None)
        if challenger is None and name is None:
            raise ScoregateError(f"{service} has no challenger")
        version = self.resolve(service, name or challenger)
        if CHALLENGER not in version.aliases:
            served = ": it is the champion, which only a canary replaces" if CHAMPION in version.aliases else ""
            raise ScoregateError(f"{service} {version.version} is not the challenger{served}")
        _named(who, why)
        self._client.delete_registered_model_alias(service, CHALLENGER)
        self._approve(version, "demoted", who, why)
        return self.resolve(service, version.version)

    def crown(self, service: str, name: str, who: str, why: str) -> Version:
        """Make a version the champion: what serving reads and the alias. For a canary's promotion and for training.

        Raises:
            ScoregateError: a gate of it failed, or nobody approves.
        """
        version = self.resolve(service, name)
        self._must_pass(version, who, why)
        models = self._settings.models(service)
        artefact.promote(models, models / version.version, replace=True)
        if CHALLENGER in version.aliases:
            self._client.delete_registered_model_alias(service, CHALLENGER)
        self._approve(version, "crowned", who, why)
        self._client.set_registered_model_alias(service, CHAMPION, str(version.number))
        return self.resolve(service, version.version)

    def _must_pass(self, version: Version, who: str, why: str) -> None:
        _named(who, why)
        if (gate := first_failed(gates_of(self._settings.models(version.service) / version.version))) is not None:
            raise ScoregateError(refusal(version.service, version.version, gate))

    def _approve(self, version: Version, what: str, who: str, why: str) -> None:
        at = datetime.now(UTC).isoformat(timespec="seconds")
        for key, value in ((f"{what}_by", who), (f"{what}_because", why), (f"{what}_at", at)):
            self._client.set_model_version_tag(version.service, str(version.number), key, value)

    def _experiment(self, service: str) -> str:
        if (found := self._client.get_experiment_by_name(service)) is not None:
            return str(found.experiment_id)
        place = (self._settings.home / "mlartifacts" / service).resolve().as_uri()
        return str(self._client.create_experiment(service, artifact_location=place))

    def _ensure_model(self, service: str) -> None:
        from mlflow.exceptions import MlflowException

        try:
            self._client.get_registered_model(service)
        except MlflowException:
            self._client.create_registered_model(service)

    def _find(self, service: str, digest: str) -> Version | None:
        return next((v for v in self.versions(service) if v.version == digest), None)


def _named(who: str, why: str) -> None:
    if not who.strip() or not why.strip():
        raise ScoregateError("an approver's name and a reason are needed")


def crown(settings: Settings, service: str, version: str, who: str, why: str) -> Version:
    """Make a version the champion; see Registry.crown."""
    return Registry(settings).crown(service, version, who, why)
