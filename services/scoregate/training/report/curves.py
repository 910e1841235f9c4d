"""Metrics and curves of the test records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from scoregate.training.card import title
from scoregate.training.plots import Line, chart
from scoregate.training.report.page import Page
from scoregate.training.report.parts import figure, row, table

POINTS: Final = 200


def metrics(page: Page) -> str:
    rows = [(title(name), f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}") for name, m in page.metrics.items()]
    return table(("metric", "value", "95 % interval"), rows)


def curves(page: Page) -> str:
    """Draw ROC, precision and recall, calibration and scores; nothing without labels."""
    if page.label.min() == page.label.max():
        return ""
    order = np.argsort(-page.score, kind="stable")
    weight, bad = page.weight[order], (page.weight * page.label)[order]
    last = np.flatnonzero(np.append(np.diff(page.score[order]) != 0, True))
    above, hits = np.cumsum(weight)[last], np.cumsum(bad)[last]
    tpr, fpr = hits / hits[-1], (above - hits) / (above - hits)[-1]
    thin = np.unique(np.linspace(0, len(last) - 1, POINTS).astype(int))
    # The left end, where decisions are made, keeps its points: by rank, not by place.
    thin = np.unique(np.concatenate([thin, np.unique(np.geomspace(1, len(last), POINTS).astype(int) - 1)]))
    unit = (0.0, 1.0, 0.0, 1.0)
    roc = [(0.0, 0.0), *zip(fpr[thin].tolist(), tpr[thin].tolist(), strict=True)]
    pr = list(zip(tpr[thin].tolist(), (hits / above)[thin].tolist(), strict=True))
    base = float(bad.sum() / weight.sum())
    diagonal = Line("chance", [(0, 0), (1, 1)], dashed=True)
    everyone = Line("all", [(0, base), (1, base)], dashed=True)
    return row(
        [
            figure("ROC", chart([Line("", roc), diagonal], "false-positive rate", "true-positive rate", box=unit)),
            figure(
                "Precision and recall",
                chart([Line("", pr), everyone], "recall", "precision", box=unit),
            ),
            figure("Calibration", _reliability(page.details.get("reliability", ()))),
            figure("Scores, share of good and of bad records", _histogram(page)),
        ]
    )


def _reliability(points: Sequence[Mapping[str, Any]]) -> str:
    if not points:
        return ""
    most = max(max(p["predicted"], p["observed"]["high"]) for p in points)
    line = Line(
        "observed, with 95 % interval",
        [(p["predicted"], p["observed"]["value"]) for p in points],
        [p["observed"]["low"] for p in points],
        [p["observed"]["high"] for p in points],
        dots=True,
    )
    ideal = Line("as predicted", [(0, 0), (most, most)], dashed=True)
    return chart([line, ideal], "mean score", "share of bad", box=(0, most, 0, most))


def _histogram(page: Page) -> str:
    edges = np.linspace(0, 1, 21)
    lines, most = [], 0.0
    for name, here in (("good", page.label == 0), ("bad", page.label == 1)):
        counts = np.histogram(page.score[here], edges, weights=page.weight[here])[0]
        share = counts / max(float(counts.sum()), 1e-300)
        steps = [p for i, y in enumerate(share.tolist()) for p in ((edges[i], y), (edges[i + 1], y))]
        lines.append(Line(name, [(float(x), y) for x, y in steps]))
        most = max(most, float(share.max()))
    return chart(lines, "score", "share of records", box=(0, 1, 0, most))
