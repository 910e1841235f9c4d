"""What cannot work is refused, in a sentence that names the key."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest

Helm = Callable[..., subprocess.CompletedProcess[str]]

ONE_POD = "ledger.sqlite.existingClaim=,ledger.url.existingSecret=db,defaults.replicas=1"
DYING = "ledger.sqlite.existingClaim=,ledger.sqlite.ephemeral=true"

SENTENCES = {
    "services=null": "services is empty: name at least one service, such as `services.fraud: {}`.",
    "services.fraud.canary.weight=10": (
        "services.fraud.canary.weight is 10, but there is no canary to send traffic to: "
        "set services.fraud.canary.tag, digest or model, or set the weight to 0."
    ),
    "services.kyc.canary.tag=2,services.kyc.canary.weight=101": (
        "services.kyc.canary.weight is 101: it must be a percentage from 0 to 100."
    ),
    "services.kyc.canary.tag=2,services.kyc.canary.weight=-1": (
        "services.kyc.canary.weight is -1: it must be a percentage from 0 to 100."
    ),
    "services.fraud.canary.tag=0.1.0": (
        "services.fraud.canary is the same as stable (image scoregate/fraud:0.1.0, model fraud), "
        "so there is nothing to compare: change its tag, digest or model, or remove it."
    ),
    "services.fraud.settings.home=/data": (
        "services.fraud.settings.home belongs to the chart, which sets it from other values: remove it."
    ),
    "services.fraud.autoscaling.enabled=true,services.fraud.autoscaling.maxReplicas=1": (
        "services.fraud.autoscaling.maxReplicas is 1, "
        "which is less than the replicas to start from: raise it to at least 2."
    ),
    "gateway.parentRefs=null": (
        "gateway.create is false and gateway.parentRefs is empty, so no traffic would arrive: "
        "name the Gateway that carries the routes, or let the chart make one."
    ),
    "gateway.create=true": (
        "gateway.create is true and gateway.parentRefs is not empty: "
        "choose one, so that it is clear which Gateway carries the routes."
    ),
    "keys.existingSecret=": (
        "keys.existingSecret is empty, and without API keys the door opens to nobody: "
        "name a Secret that holds keys.json."
    ),
    "hashKey.existingSecret=": (
        "hashKey.existingSecret is empty, and without a hash key no identifier can be recorded: "
        "name a Secret that holds hash.key."
    ),
    "onlineStore.url=": (
        "onlineStore.url and onlineStore.existingSecret are both empty, so there would be no features: set one of them."
    ),
    "ledger.sqlite.existingClaim=": (
        "ledger names no place to record decisions: set ledger.url.existingSecret or ledger.sqlite.existingClaim, "
        "or accept with ledger.sqlite.ephemeral=true that a pod takes its decisions with it."
    ),
    "ledger.sqlite.ephemeral=true": (
        "ledger names more than one place to record decisions: "
        "keep one of ledger.url.existingSecret, ledger.sqlite.existingClaim and ledger.sqlite.ephemeral."
    ),
    "ledger.segments.accept=true,defaults.replicas=1": (
        "ledger.segments.accept is true, but a segment stands in for a database, "
        "and ledger.url.existingSecret names none: set it, or accept no segments."
    ),
    f"ledger.segments.accept=true,{ONE_POD},services.kyc.replicas=2": (
        "ledger.segments.accept is true, but services.kyc may have several pods, "
        "which could decide the same key twice while the database is down: "
        "set services.kyc.replicas to 1 and autoscaling.enabled to false, or accept no segments."
    ),
    f"ledger.segments.accept=true,{ONE_POD},services.fraud.canary.model=next": (
        "ledger.segments.accept is true, but services.fraud has a canary, "
        "which could decide the same key as stable while the database is down: end the canary, or accept no segments."
    ),
    "ledger.checkpoints.existingClaim=checkpoints": (
        "ledger.checkpoints.existingClaim is set, but ledger.checkpoints.signingKey.existingSecret is empty, "
        "and each pod would sign with a key of its own: name a Secret that holds checkpoint.key."
    ),
    "ledger.checkpoints.signingKey.existingSecret=key": (
        "ledger.checkpoints.signingKey.existingSecret is set, but ledger.checkpoints.existingClaim is empty, "
        "so no checkpoint would be kept: name a PersistentVolumeClaim."
    ),
    f"{DYING},ledger.checkpoints.existingClaim=claim,ledger.checkpoints.signingKey.existingSecret=key": (
        "ledger.checkpoints.existingClaim is set, but ledger.sqlite.ephemeral is true: "
        "each new pod would contradict what was signed of the one before. Keep the ledger, or take no checkpoints."
    ),
    "services.fraud.settings.ledger_segment=accept": (
        "services.fraud.settings.ledger_segment belongs to the chart, which sets it from other values: remove it."
    ),
    f"{ONE_POD},batch.jobs.x.service=loans,batch.jobs.x.in=a.csv,batch.jobs.x.out=b.csv": (
        "batch.jobs.x.service is loans, which is not among the services of this release: name one that is."
    ),
    f"{ONE_POD},batch.jobs.x.service=kyc,batch.jobs.x.in=a.csv,batch.jobs.x.out=a.csv": (
        "batch.jobs.x reads and writes the same file, a.csv: give `out` another name."
    ),
    "batch.jobs.x.service=kyc,batch.jobs.x.in=a.csv,batch.jobs.x.out=b.csv": (
        "batch.jobs.x needs a ledger that its pods share with those of the service, "
        "or what is scored twice is decided twice: set ledger.url.existingSecret."
    ),
    "worker.shards=0": "worker.shards is 0: at least one has to count; with worker.enabled=false none does.",
    "worker.settings.project=other": (
        "worker.settings.project belongs to the chart, which sets it from other values: remove it."
    ),
    "worker.settings.store_url=redis://other:6379/0": (
        "worker.settings.store_url belongs to the chart, which sets it from other values: remove it."
    ),
    "worker.data.existingClaim=": (
        "worker.data names no place for history and the copy of events, from which a lost store is filled: "
        "set worker.data.existingClaim, "
        "or accept with worker.data.ephemeral=true that after such a loss every entity looks new."
    ),
    "worker.data.ephemeral=true": (
        "worker.data names more than one place for history and the copy of events: "
        "keep one of worker.data.existingClaim and worker.data.ephemeral."
    ),
    "services.kyc.settings.project=other": (
        "services.kyc.settings.project is other, but the worker counts for defaults.settings.project, scoregate: "
        "the features of kyc would be stale. Set it under defaults."
    ),
    "monitoring.prometheusRule.enabled=true": (
        "monitoring.prometheusRule.enabled is true, but the cluster does not serve monitoring.coreos.com/v1, "
        "which comes with Prometheus' operator: install that first; "
        "where there is no cluster to ask, add --api-versions monitoring.coreos.com/v1."
    ),
    "monitoring.drift.enabled=true": (
        "monitoring.drift.enabled is true, but ledger.url.existingSecret is empty: "
        "it compares the decisions of all pods, so they need one ledger."
    ),
    "retrain.enabled=true,ledger.sqlite.existingClaim=,ledger.url.existingSecret=db": (
        "retrain.enabled is true, but retrain.existingClaim is empty: name the PersistentVolumeClaim "
        "with the state folder that is trained from, and that challengers are written into."
    ),
    "retrain.enabled=true,retrain.existingClaim=home": (
        "retrain.enabled is true, but ledger.url.existingSecret is empty: "
        "whether to train again, the decisions of all pods say, so they need one ledger."
    ),
    "demo.enabled=true": (
        "demo.enabled is true, but demo.existingSecret is empty, and without a key nothing can be told: "
        "name a Secret that holds a raw key in demo.key."
    ),
    "services.demo.replicas=1": (
        "services.demo would share its name with a part of the chart: give the service's folder another one."
    ),
    "services.worker.replicas=1": (
        "services.worker would share its name with the worker: give the service's folder another one."
    ),
}


@pytest.mark.parametrize("change", SENTENCES)
def test_refused_in_a_sentence(helm: Helm, change: str) -> None:
    """One wrong value over a case that works is refused, and nothing else is complained of."""
    refused = helm("default", "--skip-schema-validation", f"--set={change}")

    assert refused.returncode != 0
    assert [f"- {SENTENCES[change]}"] == [line for line in refused.stderr.splitlines() if line.startswith("- ")]


def test_without_a_worker_nothing_is_asked_of_it(helm: Helm) -> None:
    """A release whose features somebody else keeps fresh needs no place for data, and has nothing of a worker."""
    shown = helm("default", "--set=worker.enabled=false,worker.data.existingClaim=,services.kyc.settings.project=other")

    assert 0 == shown.returncode, shown.stderr
    assert "scoregate-worker" not in shown.stdout


def test_long_release_name(helm: Helm) -> None:
    """A release whose objects' names would be cut off is refused."""
    refused = helm("minimal", release="r" * 52)

    assert f"- The release name {'r' * 52} is too long for services.fraud" in refused.stderr


def test_long_cron_job_name(helm: Helm) -> None:
    """A CronJob's name ends earlier than others; without a CronJob that is no matter."""
    ledger = ("--set=ledger.sqlite.ephemeral=false", "--set=ledger.sqlite.existingClaim=claim")
    refused = helm("minimal", *ledger, release="r" * 40)
    taken = helm("minimal", *ledger, "--set=ledger.retention.enabled=false", release="r" * 40)

    assert f"- The release name {'r' * 40} is too long for the CronJob of services.fraud" in refused.stderr
    assert 0 == taken.returncode


def test_every_problem_at_once(helm: Helm) -> None:
    """The chart without any values says everything that is missing, so that one look is enough."""
    refused = helm(None)

    assert refused.returncode != 0
    assert 5 == sum(line.startswith("- ") for line in refused.stderr.splitlines())


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ("services.fraud.canary.weight=101", "maximum: got 101, want 100"),
        ("services.fraud.canary.weight=ten", "got string, want integer"),
        ("services.fraud.canary.wieght=10", "additional properties 'wieght' not allowed"),
        ("services.Fraud.model=a", "'Fraud' does not match pattern"),
        ("podSecurity.runAsUser=0", "minimum: got 0, want 1"),
        ("worker.shards=65", "maximum: got 65, want 64"),
        ("keys.exsistingSecret=a", "additional properties 'exsistingSecret' not allowed"),
    ],
)
def test_schema_refuses(helm: Helm, change: str, complaint: str) -> None:
    """A misspelt key, a wrong type or a value out of range never reaches a template."""
    refused = helm("default", f"--set={change}")

    assert refused.returncode != 0
    assert complaint in refused.stderr
