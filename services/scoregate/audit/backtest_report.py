"""What a backtest found, in lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Say what `Backtest.found` returned. Money is in minor units."""
    yield (
        f"{found['service']} {found['model']}: {found['moved']:,} of {found['decided']:,} decisions "
        "would have had another outcome"
    )
    for why, count in found["skipped"].items():
        yield f"  not decided again: {count:,}, {why}"
    names = found["outcomes"]
    width = max(map(len, names)) + 2
    yield ""
    yield "was \\ would be".ljust(16) + "".join(name.rjust(max(width, 11)) for name in names)
    for was in names:
        yield was.ljust(16) + "".join(f"{found['matrix'][was][name]:,}".rjust(max(width, 11)) for name in names)
    yield ""
    for name, work in found["workload"].items():
        yield f"{name}: {work['before']:,} → {work['after']:,} ({work['change_per_day']:+,.2f} a day)"
    yield ""
    yield f"expected cost by the scores, {_money(found['expected'])}"
    if found["realised"]["decisions"]:
        yield f"realised cost by the labels, {_money(found['realised'])}"
    else:
        yield "realised cost: no labels have come"
    yield ""
    yield f"reasons changed in {found['reasons']['changed']:,} decisions"
    for code, count in found["reasons"]["by_code"].items():
        if count["before"] != count["after"]:
            yield f"  {code}: {count['before']:,} → {count['after']:,}"
    yield ""
    yield "segments: outcome, amount in minor units"
    for segment in found["segments"]:
        yield (
            f"  {segment['outcome']}, {segment['amount_minor']}: {segment['decisions']:,} decisions, "
            f"{segment['milder']:,} milder, {segment['harsher']:,} harsher, "
            f"expected {segment['expected']['change_minor']:+,.2f}"
        )


def _money(money: Mapping[str, float]) -> str:
    return (
        f"{money['decisions']:,} decisions: {money['before_minor']:,.2f} → {money['after_minor']:,.2f} "
        f"({money['change_minor']:+,.2f})"
    )
