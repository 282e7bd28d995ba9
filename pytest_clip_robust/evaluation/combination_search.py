"""Combinations of transformations: some that are drawn for every model, and the search for the mildest that breaks one.

The search is property-based testing: hypothesis generates combinations, and shrinks one that breaks the property to
fewer transformations and smaller strengths.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any, NamedTuple

from pytest_clip_robust.corruptions.transformed_images import Combination, in_order
from pytest_clip_robust.names import STRENGTH_STEPS, TRANSFORMATIONS, Transformation

MOST_COMBINED = 3
PRESENCE_BITS, STEP_BITS, NAME_BITS = 2, 8, 4
"""Random bits of a transformation: it is left out if all of the first are 0; each 1 of the next makes it stronger."""

EXAMPLES = 300
"""Combinations that hypothesis generates at most; most of them need no answer, because it follows from others."""


class Search(NamedTuple):
    """The mildest combination found, or None, and the number of combinations that were tried."""

    mildest: Combination | None
    tried: int


def mild_steps(name: Transformation) -> int:
    """Return the number of steps, up to the middle of the strengths, that combinations are made of."""
    return max(1, STRENGTH_STEPS[name] // 2)


def drawn_combinations(count: int, seed: int) -> tuple[Combination, ...]:
    """Return `count` different combinations of two or three transformations at mild strengths, decided by `seed`.

    >>> drawn_combinations(3, 0)[:2] == drawn_combinations(2, 0)
    True
    """
    drawn: dict[Combination, None] = {}
    number = 0
    while len(drawn) < count:
        rank = {name: _number(seed, number, name, "rank") for name in TRANSFORMATIONS}
        size = 2 + _number(seed, number, "size") % (MOST_COMBINED - 1)
        names = sorted(TRANSFORMATIONS, key=lambda name: rank[name])[:size]
        steps = ((name, 1 + _number(seed, number, name, "step") % mild_steps(name)) for name in names)
        drawn[in_order(tuple(steps))] = None
        number += 1
    return tuple(drawn)


def mildest_combination(
    breaks: Callable[[Combination], bool], *, known: Iterable[Combination] = (), most: int, seed: int = 0
) -> Search:
    """Return the mildest combination found for which `breaks` is true.

    First come the single transformations at their largest mild strength, and those `known` from an earlier run. Then
    hypothesis generates combinations, and shrinks those that break; it tries `most` at most. Milder is: fewer
    transformations, then fewer steps of strength. Equal arguments give equal results.

    What follows from what was tried is not tried: a combination is taken to break if a weaker one does, and not to if a
    stronger one does not. So a combination that breaks can be missed; the one returned was tried itself.
    """
    tried: dict[Combination, bool] = {}
    said: dict[Combination, bool] = {}
    for one in [*(((name, mild_steps(name)),) for name in TRANSFORMATIONS), *map(in_order, known)]:
        tried[one] = breaks(one)
    most += len(tried)

    def verdict(combination: Combination) -> bool:
        if any(not broke and _is_weaker(combination, than=one) for one, broke in tried.items()):
            return False
        if any(broke and _is_weaker(one, than=combination) for one, broke in tried.items()):
            return True
        if len(tried) == most:
            return False
        tried[combination] = breaks(combination)
        return tried[combination]

    def condition(combination: Combination) -> bool:
        # Hypothesis asks again, and later knowledge must not change an answer.
        if combination not in said:
            said[combination] = verdict(combination)
        return said[combination]

    if len(tried) < most:
        _shrink(condition, examples=EXAMPLES, seed=seed)
    broken = [combination for combination, broke in tried.items() if broke]
    return Search(min(broken, key=_strength, default=None), len(tried))


def _is_weaker(combination: Combination, *, than: Combination) -> bool:
    """Return whether a combination is the same or weaker: no other transformation, and none at a larger step."""
    steps = dict(than)
    return all(step <= steps.get(name, 0) for name, step in combination)


def _shrink(condition: Callable[[Combination], bool], *, examples: int, seed: int) -> None:
    """Let hypothesis look for the smallest combination that satisfies `condition`, which remembers what it tried."""
    from hypothesis import Phase, Verbosity, find, settings  # noqa: PLC0415 - takes 0.2 s, and few tests search
    from hypothesis.errors import HypothesisWarning, NoSuchExample  # noqa: PLC0415

    quiet = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    numbers = Random(seed)  # noqa: S311 - not for secrets
    with warnings.catch_warnings():
        # Some releases warn that they cannot restore generators like this one, which nothing else uses.
        warnings.simplefilter("ignore", HypothesisWarning)
        try:
            find(_combinations(), condition, settings=quiet, random=numbers)
        except NoSuchExample:
            return


def _combinations() -> Any:
    """Return a strategy for combinations of up to three transformations at mild strengths, mostly the largest of them.

    It is made of booleans only. Hypothesis also draws integers that occur in the user's own modules, so the result
    would depend on which of them are imported. Each transformation has a place of its own in a choice of fixed length,
    with bits that leave it out: hypothesis then shrinks to fewer transformations first, and to smaller steps second.
    """
    from hypothesis import strategies as st  # noqa: PLC0415 - as above

    def combination(parts: tuple[tuple[Any, ...], ...]) -> Combination:
        found: dict[Transformation, int] = {}
        for *present, bits in parts:
            name = TRANSFORMATIONS[_binary(bits[STEP_BITS:]) % len(TRANSFORMATIONS)]
            if any(present) and name not in found:
                found[name] = min(1 + sum(bits[:STEP_BITS]), mild_steps(name))
        return in_order(tuple(found.items()))

    bit = st.booleans()
    part = st.tuples(*[bit] * PRESENCE_BITS, st.tuples(*[bit] * (STEP_BITS + NAME_BITS)))
    return st.tuples(*[part] * MOST_COMBINED).map(combination)


def _binary(bits: Sequence[bool]) -> int:
    return sum(bit << place for place, bit in enumerate(reversed(bits)))


def _strength(combination: Combination) -> tuple[int, int, Combination]:
    return len(combination), sum(step for _, step in combination), combination


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "big")
