"""What must agree before a process is ready: artefact digest, feature plan, golden requests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from scoregate.contract import Identifier, ScoreRequest
from scoregate.errors import ArtefactError, DependencyError, LedgerUnavailable, SignatureMismatch
from scoregate.features import FeatureSource
from scoregate.features.breaker import Breaker
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import FeaturePlan, compile_plan
from scoregate.features.registry import RegistryUnreachable, registry_of
from scoregate.hashing import KeyedHash
from scoregate.ledger import Ledger
from scoregate.ledger.checkpointing import Checkpointer
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.opening import open_ledger
from scoregate.models.artefact import Artefact, champion
from scoregate.scoring import Clock, FeatureCode
from scoregate.scoring.goldens import check_goldens
from scoregate.scoring.scorer import Scorer
from scoregate.scoring.shadow import Shadow
from scoregate.settings import Settings
from scoregate.streaming.relay import Relay
from scoregate.telemetry.metrics import Metrics
from scoregate.values import frozen

RETRY_S = 1.0
"""How often the ledger is tried while it cannot be opened."""


@dataclass(slots=True)
class Ready:
    """All that a ready process holds. `degraded` says in sentences what it does without since it began.

    `clock`: seconds since the epoch.
    """

    artefact: Artefact
    scorer: Scorer
    ledger: Ledger
    source: OnlineFeatures
    relay: Relay
    request_type: type[ScoreRequest]
    breaker: Breaker
    degraded: list[str] = field(default_factory=list)
    clock: Clock = time.time
    checkpoints: Checkpointer | None = None

    def without(self) -> list[str]:
        """Say what the process does without just now."""
        found = list(self.degraded)
        if not self.source.reachable or self.breaker.is_open:
            found.append("the online store does not answer")
        elif not self.source.whole:
            found.append("the online store has lost a stream's marker: it was flushed, or never filled")
        return found

    async def close(self) -> None:
        await self.relay.close()
        await self.ledger.close()
        if self.checkpoints is not None:
            await self.checkpoints.close()
        await self.breaker.close()


async def make_ready(
    service: str,
    request_type: type[ScoreRequest],
    code: FeatureCode,
    settings: Settings,
    metrics: Metrics,
    waits: Callable[[DependencyError], None],
) -> Ready:
    """Load, check, connect; while the ledger cannot be opened, tell `waits` why and try again.

    Raises:
        ArtefactError: what was deployed is wrong; nothing but a new deployment mends it.
    """
    folder = settings.model_dir or champion(settings.models(service))
    artefact = await asyncio.to_thread(Artefact.load, folder)
    if artefact.signature.service != service:
        raise SignatureMismatch(f"the artefact was trained for {artefact.signature.service}, not for {service}")
    degraded = await asyncio.to_thread(_check_plan, artefact.signature.plan, settings)
    if artefact.columns is not None:
        request_type, code = artefact.columns.request_type(ScoreRequest, Identifier), artefact.columns
    await asyncio.to_thread(check_goldens, artefact, code, request_type)
    shadow = await asyncio.to_thread(_shadow, settings, artefact, code, request_type, degraded)

    cipher = FieldCipher.load(settings.ledger_key_file)
    ledger = await opened_ledger(settings, service, cipher, waits)
    relay = Relay(ledger, settings.project, settings.store_url)
    relay.start()
    source = OnlineFeatures(
        artefact.signature.plan,
        settings.store_url,
        timeout_s=settings.store_timeout_ms / 1000,
        complete_until_s=relay.sent_until_s,
    )
    hashed = KeyedHash.load(settings.hash_key_path)
    parts = _Parts(artefact, source, ledger)
    if settings.chaos:
        parts = _chaotic(parts, settings, service)
    breaker = Breaker(parts.source)
    scorer = Scorer(
        *(parts.artefact, code, breaker, parts.ledger, hashed, metrics),
        arm=settings.arm,
        clock=parts.clock,
        shadow=shadow,
    )
    checkpoints = Checkpointer(
        settings.ledger(service),
        service,
        settings.checkpoints_path,
        settings.checkpoint_key_path,
        settings.checkpoint_s,
    )
    checkpoints.start()
    await relay.settled()
    return Ready(
        artefact, scorer, parts.ledger, source, relay, request_type, breaker, degraded, parts.clock, checkpoints
    )


def _shadow(
    settings: Settings, champion: Artefact, code: FeatureCode, request_type: type[ScoreRequest], degraded: list[str]
) -> Shadow | None:
    """Load what looks on; one that cannot is said, and keeps nobody from answering."""
    if settings.shadow_dir is None:
        return None
    try:
        artefact = Artefact.load(settings.shadow_dir)
        check_goldens(artefact, code, request_type)
        return Shadow.beside(champion, artefact)
    except ArtefactError as problem:
        degraded.append(f"no shadow is scored: {problem.detail}")
        return None


@frozen
class _Parts:
    """What a rehearsal of faults may break."""

    artefact: Artefact
    source: FeatureSource
    ledger: Ledger
    clock: Clock = time.time


def _chaotic(parts: _Parts, settings: Settings, service: str) -> _Parts:
    from scoregate.serving import chaos

    switches = chaos.Switches(settings.chaos_file(service))
    return _Parts(
        replace(parts.artefact, forest=chaos.chaotic_forest(parts.artefact.forest, switches)),
        chaos.ChaoticFeatures(parts.source, switches, settings.store_timeout_ms / 1000),
        chaos.chaotic_ledger(parts.ledger, switches),
        switches.clock,
    )


async def opened_ledger(
    settings: Settings, service: str, cipher: FieldCipher, waits: Callable[[DependencyError], None]
) -> Ledger:
    """Try until the ledger is open: a process that started before its database must not need another start."""
    while True:
        try:
            return await open_ledger(
                settings.ledger(service),
                service,
                timeout_s=settings.ledger_timeout_ms / 1000,
                segments=settings.ledger_segment_dir,
                accept=settings.ledger_segment == "accept",
                segment_bytes=settings.ledger_segment_bytes,
                cipher=cipher,
            )
        except LedgerUnavailable as problem:
            waits(problem)
        await asyncio.sleep(RETRY_S)


def _check_plan(plan: FeaturePlan, settings: Settings) -> list[str]:
    """Compare the artefact's plan with the registry; an unreachable registry is a degradation, not a reason to refuse.

    Raises:
        SignatureMismatch: the registry was reached and says otherwise.
    """
    if not plan.views:
        # All that the model knows comes with the request: no registry can say otherwise.
        return []
    try:
        registry = registry_of(settings)
    except RegistryUnreachable:
        return ["the feature registry cannot be read; the plan compiled into the artefact is used unchecked"]
    current = compile_plan(registry, plan.service)
    if current.digest != plan.digest:
        difference = plan.difference(current)
        raise SignatureMismatch(f"FeatureService {plan.service} is not what the model was trained on: {difference}")
    return []
