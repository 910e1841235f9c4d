"""One trace from the gateway to the ledger, at an OTLP receiver."""

from __future__ import annotations

import pytest

from conftest import Stack, until
from otlp import SpanSeen, tree, wait_for_trace
from scoregate.telemetry import names
from service.test_scores import NAMES, example

STAGES = {names.SPAN_AUTH, names.SPAN_FEATURES, names.SPAN_MODEL, names.SPAN_POLICY, names.SPAN_LEDGER}


@pytest.mark.parametrize("service", NAMES)
def test_one_trace_from_the_gateway_to_the_ledger(stack: Stack, service: str) -> None:
    """The gateway's span is the root; the service's server span is below it, and every stage below that."""
    body = example(service)
    decision_id = stack.post(service, body).json()["decision_id"]
    server = f"POST /v1/{service}/score"
    found = [s for s in wait_for_any(stack, names.ATTR_DECISION_ID, decision_id) if s.name == server]
    trace = wait_for_trace(stack.spans, found[0].trace_id)
    print(f"\ntrace {found[0].trace_id}\n{tree(trace)}")
    by_id = {span.span_id: span for span in trace}
    services = [span.service for span in trace]

    assert STAGES <= {span.name for span in trace if span.parent_id == found[0].span_id}
    assert {"gateway", service} <= set(services)
    assert "gateway" == by_id[found[0].parent_id].service
    assert 1 == len([span for span in trace if span.parent_id not in by_id])


def test_spans_hold_no_identifier_amount_or_feature(stack: Stack) -> None:
    """What a caller sent is in no attribute of any span."""
    planted = {name: example(name) for name in NAMES}
    for name, body in planted.items():
        decision_id = stack.post(name, body).json()["decision_id"]
        wait_for_any(stack, names.ATTR_DECISION_ID, decision_id)
    text = repr([span.attributes for span in stack.spans.seen()])
    secrets = {str(v) for body in planted.values() for v in body.values() if isinstance(v, str) and len(v) > 4}

    assert set() == {value for value in secrets if value in text}


def wait_for_any(stack: Stack, attribute: str, value: str) -> list[SpanSeen]:
    """Wait until a span with this attribute has arrived."""
    found: list[SpanSeen] = []
    until(lambda: found.extend(s for s in stack.spans.seen() if s.attributes.get(attribute) == value) or found)
    return found
