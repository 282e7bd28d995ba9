"""Records of public sets of hard pairs, read as true captions with false ones, or as two captions of two images.

Every public set has keys of its own. The functions here know them, and no images: they turn a record into captions.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pytest_clip_robust.datasets.captions.captions import texts_in
from pytest_clip_robust.datasets.captions.spatial import scene_groups, side_in
from pytest_clip_robust.datasets.sources.listings import Record, image_of, value_of
from pytest_clip_robust.errors import DataError
from pytest_clip_robust.names import PHOTO, SUGARCREPE_PP
from pytest_clip_robust.system.text import printable

TRUE_KEYS = ("true_caption", "positive_caption", "caption")
FALSE_KEYS = ("negatives", "negative_captions", "negative_caption", "false_caption", "false_captions")
KIND_KEYS = ("negative_kinds", "kinds", "kind")
TAG_KEYS = ("collapsed_tag", "tag")
PARAPHRASE, OPTIONS, ANSWER, ANSWER_KIND = "caption2", "caption_options", "correct_answer", "correct_answer_template"
OBJECT, WORD, VERSION, ID = "object_label", "attack_word", "type", "id"
NUMBERED = re.compile(r"caption_\d+")

IMAGE_PAIRS = (("image_0", "image_1"), ("image_1", "image_2"))
"""The keys of two images with two captions: of Winoground, and of ColorSwap."""

WORDS = {
    "replaced": "replace",
    "swapped": "swap",
    "added": "add",
    "obj": "object",
    "att": "attribute",
    "rel": "relation",
}
CHANGES = ("replace", "replaced", "swap", "swapped", "add", "added")
WHOLE_KINDS = ("attribution", "relation", "order")
"""Kinds that are the last word of a file name, such as ``visual_genome_attribution.json``."""

ANSWER_KINDS = {"positive": "affirmation", "negative": "negation"}
"""What the true caption of a NegBench question is, by the words of its files; ``hybrid`` is both."""


@dataclass(frozen=True, slots=True)
class HardPair:
    """An image's true caption, and false captions that differ by one kind of change.

    groups: the group that the pair belongs to, by the name of the score that counts whole groups.
    """

    caption: str
    false: tuple[str, ...]
    kind: str
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CaptionPair:
    """Two captions of two images; `image_keys` are the record's keys of the images, in the order of their captions."""

    image_keys: tuple[str, str]
    captions: tuple[str, str]
    kind: str


def hard_pairs(record: Record) -> list[HardPair]:
    """Return the true and false captions of a record: one pair, or several if false captions have kinds of their own.

    Raises:
        DataError: a caption is missing or empty, a false caption is the true one, or the true one is not named.
    """
    if WORD in record.values:
        return [_attacked(record)]
    if OPTIONS in record.values:
        return [_first_of_options(record)]
    if ANSWER in record.values:
        return [_answered(record)]
    if PARAPHRASE in record.values:
        return _paraphrased(record)
    return _general(record)


def image_keys(names: Collection[str]) -> tuple[str, str] | None:
    """Return the keys of two images among the `names` of keys or columns; None if records are about one image.

    >>> image_keys(["image_1", "image_2", "caption_1"])
    ('image_1', 'image_2')
    """
    winoground, colorswap = IMAGE_PAIRS
    if winoground[0] in names:
        return winoground
    return colorswap if all(key in names for key in colorswap) else None


def caption_pair(record: Record, keys: tuple[str, str]) -> CaptionPair:
    """Return the two captions of a record that has two images under `keys`.

    Raises:
        DataError: a caption is missing or empty, or both are equal.
    """
    values, where = record.values, record.where
    names = [key.replace("image", "caption") for key in keys]
    first, second = (texts_in(values.get(name), f"{where}: {name}")[0] for name in names)
    if first == second:
        raise DataError(f"{where}: both captions are {printable(first)!r}")
    return CaptionPair(keys, (first, second), canonical_kind(str(value_of(values, TAG_KEYS) or "all")))


def canonical_kind(text: str) -> str:
    """Return the name that the suites use for a kind of false caption.

    >>> canonical_kind("replaced object"), canonical_kind("swap_att"), canonical_kind("visual_genome_relation")
    ('replace_object', 'swap_attribute', 'relation')
    """
    words = text.strip().lower().replace("-", "_").replace(" ", "_").split("_")
    if words[-1] in WHOLE_KINDS and words[0] not in CHANGES:
        return words[-1]
    return "_".join(WORDS.get(word, word) for word in words)


def caption_columns(names: Iterable[str], own: str = "") -> list[str]:
    """Return those `names` of a table's columns that can be part of a record; `own` is one that the user names."""
    known = {*TRUE_KEYS, *FALSE_KEYS, *KIND_KEYS, *TAG_KEYS, PARAPHRASE, OPTIONS, ANSWER, ANSWER_KIND, "split", own}
    known |= {OBJECT, WORD, VERSION, ID}
    return [name for name in names if name in known or NUMBERED.fullmatch(name)]


def _general(record: Record) -> list[HardPair]:
    """Read SugarCrepe, ARO, and files of the same form."""
    values, where = record.values, record.where
    caption, false = _true_and_false(record)
    _refuse_true(where, caption, false)
    kinds = value_of(values, KIND_KEYS)
    if not isinstance(kinds, list):
        return [HardPair(caption, tuple(false), _kind_of(record, kinds))]
    if len(kinds) != len(false):
        raise DataError(f"{where}: {len(kinds)} kinds for {len(false)} false captions")
    return [HardPair(caption, (text,), canonical_kind(str(kind))) for text, kind in zip(false, kinds, strict=True)]


def _paraphrased(record: Record) -> list[HardPair]:
    """Read SugarCrepe++: two true captions, each against the same false one.

    A false caption that is a true one is no error: two published records of ``swap_obj`` have one, and count as wrong.
    """
    values, where = record.values, record.where
    caption, false = _true_and_false(record)
    second = texts_in(values[PARAPHRASE], f"{where}: {PARAPHRASE}")[0]
    if len(false) != 1:
        raise DataError(f"{where}: {len(false)} false captions; expected one with {PARAPHRASE!r}")
    kind = _kind_of(record, value_of(values, KIND_KEYS))
    return [HardPair(true, (false[0],), kind, {SUGARCREPE_PP: (where,)}) for true in (caption, second)]


def _attacked(record: Record) -> HardPair:
    """Read SCAM: the name of the object, and the word that is on the note, or was before it was removed."""
    values, where = record.values, record.where
    name, word = (texts_in(values.get(key), f"{where}: {key}")[0] for key in (OBJECT, WORD))
    _refuse_true(where, name, [word])
    version = str(values.get(VERSION) or "").strip()
    if not version:
        raise DataError(f"{where}: no {VERSION!r}; expected the version of the photograph, such as SCAM or NoSCAM")
    photo = str(values.get(ID) or image_of(values) or where)
    return HardPair(name, (word,), version, {PHOTO: (photo.removeprefix(f"{version}_"),)})


def _first_of_options(record: Record) -> HardPair:
    """Read What'sUp: the first option is the true one."""
    where = record.where
    options = _distinct(texts_in(record.values[OPTIONS], f"{where}: {OPTIONS}"), where)
    kind = side_in(options[0]) or _kind_of(record, value_of(record.values, KIND_KEYS))
    return HardPair(options[0], tuple(options[1:]), kind, scene_groups(options, record.part))


def _answered(record: Record) -> HardPair:
    """Read NegBench's questions: numbered captions, and the number of the true one."""
    values, where = record.values, record.where
    names = sorted((key for key in values if NUMBERED.fullmatch(key) and values[key] is not None), key=_number)
    options = _distinct([texts_in(values[name], f"{where}: {name}")[0] for name in names], where)
    numbers = [str(_number(name)) for name in names]
    answer = str(values[ANSWER]).strip().removesuffix(".0")
    if answer not in numbers:
        raise DataError(f"{where}: {ANSWER} is {values[ANSWER]!r}; expected one of {', '.join(numbers)}")
    true = numbers.index(answer)
    kind = str(values.get(ANSWER_KIND) or "").strip() or _kind_of(record, value_of(values, KIND_KEYS))
    return HardPair(
        options[true], tuple(options[:true] + options[true + 1 :]), canonical_kind(ANSWER_KINDS.get(kind, kind))
    )


def _true_and_false(record: Record) -> tuple[str, list[str]]:
    (caption,) = texts_in(value_of(record.values, TRUE_KEYS), f"{record.where}: the true caption")[:1]
    return caption, texts_in(value_of(record.values, FALSE_KEYS), f"{record.where}: the false caption")


def _refuse_true(where: str, caption: str, false: Iterable[str]) -> None:
    same = next((text for text in false if text == caption), None)
    if same is not None:
        raise DataError(f"{where}: the false caption {printable(same)!r} is the true one")


def _distinct(options: list[str], where: str) -> list[str]:
    """Return the options of a question; a repeated one could be true and false."""
    if len(options) < 2:
        raise DataError(f"{where}: {len(options)} captions to choose from; expected 2 or more")
    same = next((text for i, text in enumerate(options) if text in options[:i]), None)
    if same is not None:
        raise DataError(f"{where}: two captions to choose from are {printable(same)!r}; expected different ones")
    return options


def _kind_of(record: Record, kind: Any) -> str:
    return canonical_kind(str(kind or record.part or "all"))


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])
