"""How ripe labels are: of bad records of one age, the share whose label has come by now.

Delays are known of labels that came, and of young records only the short ones: plainly counted they look shorter than
they are. Counted backwards, from the longest, each is compared with those that could have been seen to last as long:
the product-limit estimate of right-truncated times (Lagakos, Barraj and De Gruttola, Biometrika 75, 1988).
What is longer than the oldest record could show is not known, and taken not to be.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from scoregate.training.resample import Floats, Ints

FEWEST: Final = 20
"""Labels from which something is concluded; fewer say nothing of how long one waits."""

LEAST: Final = 0.2
"""No label stands for more than five."""


def ripe(delay_us: Ints, seen_us: Ints, age_us: Ints) -> Floats:
    """Return the share of labels that have come by each age.

    `delay_us`: of each label that came; `seen_us`: how old its record is by now, which no delay exceeds.
    """
    delays, count = np.unique(delay_us, return_counts=True)
    at_risk = np.searchsorted(np.sort(delay_us), delays, "right") - np.searchsorted(np.sort(seen_us), delays, "left")
    stays = np.where(at_risk < FEWEST, 1.0, 1.0 - count / np.maximum(at_risk, 1))
    by_then = np.append(np.cumprod(stays[::-1])[::-1], 1.0)
    return np.asarray(np.maximum(by_then[np.searchsorted(delays, age_us, "right")], LEAST))
