"""Spatial relations in captions of What'sUp (Kamath et al. 2023, "What's up with vision-language models?").

Its controlled images come in sets of four: the same two objects in four relations, each with the same four captions to
choose from. Opposite relations are a pair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import WHATSUP_PAIR, WHATSUP_SET
from pytest_clip_robust.system.text import printable

PHRASES = {
    " left of ": "left",
    " right of ": "right",
    " in front of ": "front",
    " behind ": "behind",
    " on top of ": "top",
    " above ": "above",
    " below ": "below",
    " under ": "under",
    " on ": "on",
}
"""Relations by the words around two objects; the first that a caption has counts, so that "on top of" is not "on"."""

SIDES = ("left", "right", "top", "bottom", "above", "below")
"""Last words of captions of one object: "a dog on the left"."""

AXES = {"left": "across", "right": "across", "on": "up", "under": "up", "front": "along", "behind": "along"}
"""The axis of each relation of the controlled images: two relations of one axis are opposite."""

SCENES = (frozenset({"left", "right", "on", "under"}), frozenset({"left", "right", "front", "behind"}))
"""The relations of a set of four images, of subset A and of subset B."""


def side_in(caption: str) -> str:
    """Return the spatial relation that a caption states; ``""`` if it states none.

    >>> side_in("A mug to the left of a plate"), side_in("A photo of a dog on the left"), side_in("A mug")
    ('left', 'left', '')
    """
    words = caption.lower().rstrip(" .").split()
    if words and words[-1] in SIDES:
        return words[-1]
    text = f" {' '.join(words)} "
    return next((relation for phrase, relation in PHRASES.items() if phrase in text), "")


def scene_groups(options: Sequence[str], part: str) -> dict[str, tuple[str, ...]]:
    """Return the pair and the set of a controlled image by its options, the true one first; none for other questions.

    part: the name of the listing. The same objects in another listing are another set.
    """
    relations = [side_in(option) for option in options]
    if len(options) != len(SCENES[0]) or frozenset(relations) not in SCENES:
        return {}
    scene = (part, *sorted(options))
    return {WHATSUP_PAIR: (*scene, AXES[relations[0]]), WHATSUP_SET: scene}


def check_scenes(scenes: Iterable[tuple[Sequence[str], Sequence[str]]], where: str) -> None:
    """Check that in every set of four images each of their four captions is true once.

    scenes: the captions to choose from, and the true captions of the images, of every set.

    Raises:
        DataError: an image of a set is missing, or there are two of one relation.
    """
    for options, found in scenes:
        odd = next((text for text in options if found.count(text) != 1), None)
        if odd is not None:
            raise DataError(
                f"{where}: {found.count(odd)} images have the true caption {printable(odd)!r}; expected 1, because a "
                "set of four images has one for each of its captions"
            )
