"""Combinations of transformations: some that are drawn for every model, and the search for the mildest that breaks one.

The search is property-based testing: hypothesis generates combinations, and shrinks one that breaks the property to
fewer transformations and smaller strengths.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from random import Random
from typing import Any, NamedTuple

from pytest_clip_robust.corruptions.transformed_images import Combination, in_order
from pytest_clip_robust.names import STRENGTH_STEPS, TRANSFORMATIONS, Transformation

MOST_COMBINED = 3


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
    """Return the mildest combination found for which `breaks` is true, trying `most` at most.

    Those `known` from an earlier run are tried first. Then hypothesis generates half of `most`, and the others are for
    shrinking. Milder is: fewer transformations, then fewer steps of strength. Equal arguments give equal results.
    """
    verdicts: dict[Combination, bool] = {}

    def condition(combination: Combination) -> bool:
        if combination not in verdicts:
            if len(verdicts) >= most:
                return False
            verdicts[combination] = breaks(combination)
        return verdicts[combination]

    for combination in known:
        condition(in_order(combination))
    if len(verdicts) < most:
        _shrink(condition, examples=max(1, most // 2), seed=seed)
    broken = [combination for combination, broke in verdicts.items() if broke]
    return Search(min(broken, key=_strength, default=None), len(verdicts))


def _shrink(condition: Callable[[Combination], bool], *, examples: int, seed: int) -> None:
    """Let hypothesis look for the smallest combination that satisfies `condition`, which remembers what it saw."""
    from hypothesis import Phase, Verbosity, find, settings  # noqa: PLC0415 - takes 0.2 s, and few tests search
    from hypothesis.errors import NoSuchExample  # noqa: PLC0415

    quiet = settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        verbosity=Verbosity.quiet,
        print_blob=False,
    )
    try:
        find(_combinations(), condition, settings=quiet, random=Random(seed))  # noqa: S311 - not for secrets
    except NoSuchExample:
        return


def _combinations() -> Any:
    """Return a strategy for one to three transformations at mild strengths, the mildest first.

    It is made of booleans only. Hypothesis also draws integers that occur in the user's own modules, so the result
    would depend on which of them are imported. The bits of the strength come before those of the name, because earlier
    choices are shrunk first.
    """
    from hypothesis import strategies as st  # noqa: PLC0415 - as above

    def number(bits: tuple[bool, ...]) -> int:
        return sum(bit << place for place, bit in enumerate(reversed(bits)))

    def part(bits: tuple[tuple[bool, ...], tuple[bool, ...]]) -> tuple[Transformation, int]:
        step, place = map(number, bits)
        name = TRANSFORMATIONS[place % len(TRANSFORMATIONS)]
        return name, 1 + step % mild_steps(name)

    bits = [st.tuples(*[st.booleans()] * count) for count in (2, 4)]
    parts = st.lists(st.tuples(*bits).map(part), min_size=1, max_size=MOST_COMBINED, unique_by=lambda one: one[0])
    return parts.map(lambda found: in_order(tuple(found)))


def _strength(combination: Combination) -> tuple[int, int, Combination]:
    return len(combination), sum(step for _, step in combination), combination


def _number(*parts: object) -> int:
    return int.from_bytes(hashlib.sha256("|".join(map(str, parts)).encode()).digest()[:8], "big")
