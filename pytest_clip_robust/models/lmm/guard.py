"""Fast ways of computing log-probabilities, which are used only after they gave those of whole passes.

Reusing a cache, copying it, padding and masks can all be wrong without any error, by a few tenths to several nats: for
a version of transformers, a kind of attention, or a model. So the model at hand is asked, on its first question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.lmm.likelihood import TokenScores
from pytest_clip_robust.system.notice import Notice

TOLERANCES = {"fp32": 1e-3, "fp16": 0.05, "bf16": 0.3}
"""The largest difference of a token's log-probability, in nats, that is rounding. The spacing of numbers near 20, a
usual logit, is 2e-6, 0.016 and 0.125 at these precisions."""
GROWTH = 1.5
"""A way that was tested on a question is used for questions with up to this many times its tokens, then tested again:
a window of attention may be longer than the first question."""

Compute = Callable[[], Sequence[TokenScores]]


class Guard:
    """Decide whether one fast way is used.

    way: what it does, and instead: what is done in its place, for the notice.
    """

    def __init__(self, way: str, instead: str, *, precision: str, notice: Notice, where: str) -> None:
        self._way, self._instead, self._notice, self._where = way, instead, notice, where
        self._tolerance, self._precision = TOLERANCES[precision], precision
        self._tested, self._refused = 0, False

    def allows(self, length: int, *, fast: Compute, whole: Compute) -> bool:
        """Return whether the fast way is used for questions of `length` tokens; if it is not known, both are compared.

        `fast` is called first, and an error of it only means that it is not used.

        Raises:
            ModelError: the slow way fails.
        """
        if self._refused or length <= GROWTH * self._tested:
            return not self._refused
        try:
            found, problem = fast(), ""
        except ModelError as error:
            found, problem = [], f"fails ({str(error).removeprefix(f'{self._where}: ')})"
        difference = largest_difference(found, whole())
        # A difference that is NaN is refused as well.
        self._refused = not difference <= self._tolerance
        if self._refused:
            problem = problem or (
                f"changes log-probabilities by {difference:.2g} nats (expected at most {self._tolerance:g} at "
                f"{self._precision})"
            )
            self._notice(f"{self._where}: {self._way} {problem}, so {self._instead}")
        self._tested = length
        return not self._refused


def largest_difference(found: Sequence[TokenScores], expected: Sequence[TokenScores]) -> float:
    """Return the largest difference of a token's log-probability, in nats; infinite if the tokens are not the same.

    >>> largest_difference([np.array([-1.0, -2.0])], [np.array([-1.0, -2.5])])
    0.5
    """
    if [one.shape for one in found] != [one.shape for one in expected]:
        return float("inf")
    pairs = zip(found, expected, strict=True)
    return float(max((np.abs(one - other).max(initial=0.0) for one, other in pairs), default=0.0))
