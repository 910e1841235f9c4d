"""The only reader of the environment but for `home.py`: every setting, its default, its unit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import AliasChoices, Field, model_validator

from scoregate.home import DEFAULT_HOME
from scoregate.tracing_settings import TracingSettings

ROOT = Path(__file__).resolve().parents[2]
"""The checkout (or, in an image, the folder that holds `services/`)."""


def unknown_variables() -> list[str]:
    """Variables that look like settings and are none: most likely misspelt."""
    known = {f"SCOREGATE_{name.upper()}" for name in Settings.model_fields} | {"SCOREGATE_TEST_HOME"}
    return sorted(name for name in os.environ if name.startswith("SCOREGATE_") and name not in known)


def other_names() -> dict[str, str]:
    """Variables that win over a setting's own, with the setting's name."""
    aliases = ((name, field.validation_alias) for name, field in Settings.model_fields.items())
    choices = ((name, alias.choices) for name, alias in aliases if isinstance(alias, AliasChoices))
    return {str(each): name for name, some in choices for each in some if not str(each).startswith("SCOREGATE_")}


def quiet_libraries() -> None:
    """Keep the libraries of training from reporting to their makers; before the first of them is imported."""
    os.environ.update(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true", GX_ANALYTICS_ENABLED="false")


class Settings(TracingSettings):
    """Settings of one process, each from `SCOREGATE_<NAME>`; relative paths begin at the working directory."""

    home: Path = Field(DEFAULT_HOME, description="State folder of the local stack.")
    env: str = Field(
        "production", description="`production` or `development`; development allows rehearsals of faults."
    )
    chaos: bool = Field(
        False, description="Whether faults may be rehearsed by `scoregate chaos`; in development alone."
    )
    project: str = Field("scoregate", description="Feast project, part of every online key.")
    arm: str = Field("stable", description="`stable` or `canary`; said in answers, ledger and metrics.")
    arm_file: Path | None = Field(
        None, description="File that says the arm in place of `arm`, and may say another one later: a label of the pod."
    )
    mlflow_url: str | None = Field(None, description="MLflow's runs and versions; default sqlite:///<home>/mlflow.db.")
    store_url: str = Field("redis://127.0.0.1:6390/0", description="Online store, Valkey or Redis.")
    store_timeout_ms: float = Field(50.0, gt=0, description="Longest wait for one round trip to the online store.")
    registry: Path | None = Field(None, description="Feast registry file; default <home>/registry.db.")
    registry_url: str | None = Field(
        None, description="PostgreSQL that Feast keeps its registry in, in place of a file; postgresql://…"
    )
    model_dir: Path | None = Field(
        None, description="Artefact folder of this service; default the champion in <home>/models/<service>."
    )
    shadow_dir: Path | None = Field(
        None, description="Artefact folder of a model that scores the same vectors, into the ledger, and never answers."
    )
    ledger_url: str | None = Field(None, description="Ledger; default sqlite:///<home>/ledger/<service>.db.")
    ledger_timeout_ms: float = Field(
        800.0,
        gt=0,
        description="Longest wait for the ledger: a transaction of PostgreSQL's, or another process's turn at a file.",
    )
    ledger_segment: Literal["refuse", "accept"] = Field(
        "refuse",
        description="While PostgreSQL is down: `refuse`, or `accept` into a local segment, "
        "where one process at a time decides a key.",
    )
    ledger_segment_dir: Path | None = Field(
        None, description="Folder of segments, on a volume that survives the process; what is left there is drained."
    )
    ledger_segment_bytes: int = Field(67_108_864, gt=0, description="Most that one process holds in segments.")
    ledger_key_file: Path | None = Field(
        None,
        description="Keys that vectors and answers are encrypted with in the ledger, each 64 hex digits on a line: "
        "the last encrypts, all decrypt; nothing is encrypted without it.",
    )
    checkpoint_dir: Path | None = Field(
        None, description="Folder of the ledgers' signed checkpoints; default <home>/checkpoints."
    )
    checkpoint_key_file: Path | None = Field(
        None, description="Private key that signs checkpoints; default <home>/checkpoint.key."
    )
    checkpoint_s: float = Field(60.0, ge=0, description="Seconds between checkpoints; 0 takes none.")
    retention_months: int | None = Field(
        None, gt=0, description="Months after which a decision's personal payload is forgotten; default the service's."
    )
    keys_file: Path | None = Field(None, description="API keys, hashed; default <home>/keys.json.")
    jwt_issuer: str | None = Field(None, description="`iss` of the tokens that are taken beside keys; none by default.")
    jwt_audience: str | None = Field(None, description="`aud` that a token must name.")
    jwt_jwks_url: str | None = Field(None, description="Where the issuer's public keys are, by HTTPS.")
    jwt_leeway_s: float = Field(30.0, ge=0, le=300, description="How far the issuer's clock and ours may differ.")
    jwt_refresh_s: float = Field(300.0, gt=0, description="Seconds between fetches of the issuer's keys.")
    auth_failures_per_min: float = Field(
        60.0, gt=0, description="Keys and tokens that are none, from one address; above it 429."
    )
    trusted_proxies: int = Field(
        1, ge=0, description="Proxies in front, each of which adds the address it saw to X-Forwarded-For."
    )
    hash_key_file: Path | None = Field(
        None, description="Secret for keyed hashes of identifiers; default <home>/hash.key."
    )
    workers: int = Field(
        1, gt=0, description="Processes that share the port of one service; more than one per core is a loss."
    )
    max_request_bytes: int = Field(16_384, gt=0, description="Largest body of a single request to score.")
    max_body_bytes: int = Field(1_048_576, gt=0, description="Largest body of a batch, and of anything at the gateway.")
    max_in_flight: int = Field(
        256,
        gt=0,
        description="Most requests in flight per process; how many it really takes is measured. Above it 503.",
    )
    queue_ms: float = Field(
        25.0,
        gt=0,
        description="How long a request may wait for those before it; who would wait longer gets 503 at once.",
    )
    rate_per_s: float = Field(5_000.0, gt=0, description="Requests a second that one key may send to one process.")
    deadline_ms: int = Field(1_000, gt=0, description="Default and longest deadline of a request.")
    batch_deadline_ms: int = Field(4_000, gt=0, description="Default and longest deadline of a batch, or of events.")
    drain_s: float = Field(0.5, ge=0, description="Time between 'not ready' and closing the listener after SIGTERM.")
    log_requests: bool = Field(True, description="One JSON log line per request.")
    gateway_port: int = Field(8080, description="Local gateway, on 127.0.0.1.")
    tls_cert: Path | None = Field(None, description="Certificate of the local gateway, PEM with its chain.")
    tls_key: Path | None = Field(None, description="Key of that certificate, PEM.")
    base_port: int = Field(
        8100, description="First port of the local services; valkey and gateway internals follow from it."
    )
    train_rows: int = Field(
        1_000_000,
        gt=0,
        description="Most good records to train and to test on; a service may ask for fewer.",
    )
    seed: int = Field(20_240_229, description="Seed of the generated data and of training.")

    @model_validator(mode="after")
    def _certificate_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("SCOREGATE_TLS_CERT and SCOREGATE_TLS_KEY belong together")
        return self

    @model_validator(mode="after")
    def _issuer_is_whole(self) -> Self:
        said = (self.jwt_issuer, self.jwt_audience, self.jwt_jwks_url)
        if any(said) and not all(said):
            raise ValueError("SCOREGATE_JWT_ISSUER, _JWT_AUDIENCE and _JWT_JWKS_URL belong together")
        url = urlsplit(self.jwt_jwks_url or "https:")
        # Whoever stands between could send keys of his own.
        if url.scheme != "https" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
            raise ValueError("SCOREGATE_JWT_JWKS_URL must begin with https://")
        return self

    @model_validator(mode="after")
    def _chaos_is_for_development(self) -> Self:
        if self.chaos and self.env != "development":
            raise ValueError("SCOREGATE_CHAOS needs SCOREGATE_ENV=development: nothing is broken on purpose elsewhere")
        return self

    @model_validator(mode="after")
    def _segment_has_a_place(self) -> Self:
        if self.ledger_segment == "accept" and self.ledger_segment_dir is None:
            raise ValueError("SCOREGATE_LEDGER_SEGMENT=accept needs SCOREGATE_LEDGER_SEGMENT_DIR")
        return self

    @property
    def gateway_url(self) -> str:
        return f"{'http' if self.tls_cert is None else 'https'}://127.0.0.1:{self.gateway_port}"

    @property
    def data(self) -> Path:
        """Offline data: event streams, facts, Feast sources."""
        return self.home / "data"

    @property
    def registry_path(self) -> Path:
        return self.registry or self.home / "registry.db"

    @property
    def keys_path(self) -> Path:
        return self.keys_file or self.home / "keys.json"

    @property
    def hash_key_path(self) -> Path:
        return self.hash_key_file or self.home / "hash.key"

    @property
    def checkpoints_path(self) -> Path:
        """Outside the ledger's database, and best on another disk: what is signed there shows what was cut here."""
        return self.checkpoint_dir or self.home / "checkpoints"

    @property
    def checkpoint_key_path(self) -> Path:
        return self.checkpoint_key_file or self.home / "checkpoint.key"

    @property
    def mlflow(self) -> str:
        """Where MLflow keeps runs, versions, aliases and approvals."""
        return self.mlflow_url or f"sqlite:///{(self.home / 'mlflow.db').resolve()}"

    def chaos_file(self, service: str) -> Path:
        """What is to be broken of a service, see `serving/chaos.py`."""
        return self.home / "run" / "chaos" / f"{service}.json"

    def reports(self, service: str) -> Path:
        """Folder of a service's training reports."""
        return self.home / "reports" / service

    def models(self, service: str) -> Path:
        """Folder of a service's artefacts; `champion` in it names the one to serve."""
        return self.home / "models" / service

    def ledger(self, service: str) -> str:
        return self.ledger_url or f"sqlite:///{self.home / 'ledger' / service}.db"
