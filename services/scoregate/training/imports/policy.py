"""The artefact's copy of a policy: it demands only what the model's data had, and says so in a comment."""

from __future__ import annotations

import re
from collections.abc import Collection

from scoregate.policy import Policy


def without(text: str, views: Collection[str]) -> str:
    """Return a policy that neither requires some views nor asks that their entities are known; the rest as it stands.

    A view that had no data in training would be missing for ever, and every answer of low confidence.
    """
    policy = Policy.from_toml(text)
    required = ", ".join(f'"{view}"' for view in sorted(policy.required.difference(views)))
    gone = ", ".join(sorted(policy.required.intersection(views))) or "nothing"
    said = f"# Trained on a file that had no data for: {gone}.\nrequired = [{required}]"
    text = re.sub(r"(?ms)^required\s*=\s*\[.*?\]", said, text, count=1)
    head, section, rest = text.partition("[known]\n")
    if section:
        # Up to the next table alone: a reason may well have the name of a view.
        known, end, after = rest.partition("\n[")
        kept = [line for line in known.splitlines() if line.partition("=")[0].strip() not in views]
        text = head + section + "\n".join(kept) + end + after
    found = Policy.from_toml(text)
    assert found.required == policy.required.difference(views), "the copy requires what the data had"
    assert not found.known.keys() & set(views), "the copy asks for known entities of views that the data had"
    return text
