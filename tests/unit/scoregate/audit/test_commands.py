"""What is said of replays: counted, named, and told apart from what was forgotten."""

from __future__ import annotations

import json

from scoregate.audit.commands import Tally, lines
from scoregate.audit.replay import Difference, Replayed

SAME = Replayed("d1", "model", "m1")
OTHER = Replayed("d2", "fallback", "m1", (Difference("outcome", "approve", "review"),))


def tally(*replayed: Replayed) -> Tally:
    found = Tally()
    for one in replayed:
        found.add(one)
    return found


def test_a_tally_is_json() -> None:
    """Counts by model and by reason are objects, differences are named."""
    said = json.loads(json.dumps(tally(SAME, OTHER).as_json()))

    assert (2, 2, 1, 1, {"m1": 2}) == tuple(said[n] for n in ("entries", "replayed", "fallbacks", "differ", "models"))
    assert "outcome" == said["differing"][0]["differences"][0]["field"]


def test_only_what_was_forgotten_may_be_missing() -> None:
    """A difference or a model that is gone fails; a decision that was forgotten does not."""
    forgotten = Replayed("d3", "model", "m1", why_not="its vector was forgotten")
    gone = Replayed("d4", "model", "m2", why_not="the artefact e is not stored")

    assert [True, True, False, False] == [
        tally(*some).holds for some in ((SAME,), (SAME, forgotten), (SAME, OTHER), (gone,))
    ]


def test_differences_are_said_with_both_values() -> None:
    """Decision, field, what was recorded, what is derived."""
    text = "\n".join(lines("toy", tally(SAME, OTHER)))

    assert "1 of 2 replayed decisions differ" in text
    assert "d2: outcome recorded 'approve', derived 'review'" in text
