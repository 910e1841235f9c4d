"""Every span, metric and attribute that scoregate emits, with unit and meaning; nothing else may name one."""

from __future__ import annotations

# Spans
SPAN_SCORE = "scoregate.score"
SPAN_AUTH = "scoregate.authenticate"
SPAN_FEATURES = "scoregate.features.read"
SPAN_MODEL = "scoregate.model.predict"
SPAN_POLICY = "scoregate.policy.decide"
SPAN_LEDGER = "scoregate.ledger.append"

# Span attributes: OpenTelemetry's stable semantic conventions where they exist, scoregate.* elsewhere.
ATTR_SERVICE = "scoregate.service"
ATTR_OUTCOME = "scoregate.outcome"
ATTR_SOURCE = "scoregate.source"
ATTR_RUNG = "scoregate.rung"
ATTR_DECISION_ID = "scoregate.decision_id"
ATTR_MODEL = "scoregate.model.version"
ATTR_STALE = "scoregate.features.stale"
ATTR_MISSING = "scoregate.features.missing"
ATTR_ARM = "feature_flag.result.variant"

# Metrics (prometheus-client adds `_total` to counters by itself)
REQUESTS = "scoregate_requests"
"""Requests answered, by service, route, status and arm."""
REQUEST_SECONDS = "scoregate_request_duration_seconds"
"""Time from the first byte of a request to the last of its answer, seconds."""
DECISIONS = "scoregate_decisions"
"""Decisions, by service, arm, model, outcome, source and rung."""
SCORE_BINS = "scoregate_score_bin"
"""Decisions by score bin (twenty bins of 0.05), so that drift between arms is one query."""
FEATURES_DEGRADED = "scoregate_features_degraded"
"""Views read stale or missing, by service, view and status."""
STAGE_SECONDS = "scoregate_stage_duration_seconds"
"""Time in one stage of a decision (features, model, policy, ledger), seconds."""
IN_FLIGHT = "scoregate_requests_in_flight"
"""Requests being worked on."""
AUTH_FAILURES = "scoregate_auth_failures"
"""Refused keys, by service and reason (unauthenticated, forbidden)."""
SHED = "scoregate_shed"
"""Requests refused before work was done, by service and reason."""
READY = "scoregate_ready"
"""1 when the process is ready, else 0."""
MODEL_INFO = "scoregate_model_info"
"""Always 1; labels say which artefact, policy and feature service this process serves."""
BUILD_INFO = "scoregate_build_info"
"""Always 1; labels say which version runs."""

LATENCY_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25)
