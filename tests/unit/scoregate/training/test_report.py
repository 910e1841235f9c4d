"""The report is one page that needs nothing else, and shows what the training found."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

import toy
from scoregate.policy import Policy
from scoregate.training.evaluate import measure_drawn, reliability
from scoregate.training.fairness import fairness
from scoregate.training.gates import Found, Gate
from scoregate.training.plots import Bar, Line, bars, chart
from scoregate.training.report import Page, meaning, render
from scoregate.training.resample import Draws
from scoregate.training.thresholds import Scored, money, thresholds
from scoregate.training.worklist import workload

ROWS = 1_500
POLICY = Policy.from_toml(toy.POLICY + '[override.review]\nabove = 0.5\nreason = "The <queue> is full"\n')
PASSED = Gate.judged("floor", True, 0.8, 0.5, "ROC-AUC is 0.8")


def page(**changes: Any) -> Page:
    rng = np.random.default_rng(1)
    score = rng.beta(0.5, 3, ROWS)
    label = (rng.random(ROWS) < score).astype(np.int64)
    one, drawn = np.ones(ROWS), Draws.of(ROWS, 1, resamples=50)
    records = Scored(label, score, rng.lognormal(9, 1, ROWS), one, np.zeros(ROWS, np.int64), drawn)
    people = fairness(
        {"region": ["north", "south"] * (ROWS // 2)},
        approved=score < 0.3,
        bad=label,
        score=score,
        weight=one,
        draws=drawn,
    )
    details = {
        "reliability": reliability(label, score, one, drawn),
        "workload": workload(label, score, one, drawn, 10),
        "money": money(POLICY, records),
        "thresholds": thresholds(POLICY, records),
        "fairness": people,
        "stability": {"metric": "roc_auc", "folds": [0.81, 0.79]},
    }
    whole = Page(
        service="toy",
        version="0123456789ab",
        found=Found(
            [PASSED],
            [{"check": "records: id is unique", "ok": True, "observed": "0 of 9 records are not"}],
            dict.fromkeys(toy.FEATURES, (0.6, 0.1)),
            dict.fromkeys(toy.FEATURES, 0.02),
            {"fold 1": 0.01},
        ),
        metrics=measure_drawn(label, score, one, drawn),
        details=details,
        label=label,
        score=score,
        weight=one,
        importance={"amount_minor": 0.5, "limit_minor": 0.2, "count_1d": 0.9},
        policy=POLICY,
        meanings={"limit_minor": "What the payer may spend"},
        lineage={"data_digest": "abc", "read_by": "somebody"},
        drift={"previous": "fff", "share": 0.5, "columns": {"count_1d": 0.4}, "page": "fff-drift.html"},
        champion=True,
    )
    return replace(whole, **changes)


@pytest.fixture(scope="module")
def text() -> str:
    return render(page())


class Tags(HTMLParser):
    """Collects addresses, and counts what is left open."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href")]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert tag == self.open.pop()

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [str(value) for name, value in attrs if name in ("src", "href", "xlink:href")]


def test_the_page_needs_nothing_else(text: str) -> None:
    """No script, style or picture comes from anywhere; the one link leads to the page beside it."""
    tags = Tags()
    tags.feed(text)

    assert ["fff-drift.html"] == tags.addresses
    assert [] == tags.open
    assert not re.search(r"<script|@import|url\(|https?:", text)


@pytest.mark.parametrize(
    "said",
    [
        "<h1>toy 0123456789ab</h1>",
        "All gates passed; it is the champion.",
        "ROC-AUC is 0.8",
        "<figcaption>Calibration</figcaption>",
        "multiple of the threshold",
        "The &lt;queue&gt; is full",
        "adverse-impact ratio against",
        "the score in fold 1",
        "50% of 1 features drifted",
        "What the payer may spend",
        "Unusually many payments in a day",
        "1 checks by Great Expectations, 0 failed",
        "somebody",
    ],
)
def test_the_page_shows_what_was_found(text: str, said: str) -> None:
    """Gates, curves, costs, fairness, stability, drift, features, checks and lineage; words of people are escaped."""
    assert said in text


def test_a_failed_gate_is_the_first_thing_to_read() -> None:
    """Nobody has to look for why it is not served."""
    failed = Gate.judged("leakage", False, 0.99, 0.95, "refund alone has a ROC-AUC of 0.990")
    text = render(page(found=replace(page().found, gates=[PASSED, failed]), champion=False))

    assert '<p class="failed">Stopped by leakage.</p>' in text
    assert "refund alone" in text


def test_what_is_not_known_is_left_out() -> None:
    """A page without protected attributes, costs or earlier data has no empty sections."""
    text = render(page(details={}, drift=None))

    assert "Fairness" not in text
    assert "Expected loss" not in text
    assert "first training here" in text


def test_a_feature_is_named_by_its_words() -> None:
    """The service's own words first, else the name read aloud, and the reason it may be given for."""
    assert meaning("limit_minor", POLICY, {"limit_minor": "A limit"}).startswith("A limit (reason: ")
    assert "count, last 1 days (reason: Unusually many payments in a day)" == meaning("count_1d", POLICY, {})
    assert "amount against mean, last 30 days" == meaning("amount_to_mean_30d", POLICY, {})


def test_points_outside_the_box_stay_at_its_edge() -> None:
    """A plot never draws over what is beside it."""
    svg = chart([Line("a<b", [(-1, 2), (2, -1)], dots=True)], "x", "y", box=(0, 1, 0, 1))

    assert {("62.0", "12.0"), ("446.0", "256.0")} == set(re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg))
    assert "a&lt;b" in svg


def test_a_bar_ends_where_the_scale_does() -> None:
    """A value beyond the largest is as long as the largest."""
    widths = re.findall(r'<rect x="220" y="\d+" width="([\d.]+)"', bars([Bar("a", 2.0), Bar("b", 1.0)], most=1.0))

    assert widths == ["330.0", "330.0"]
