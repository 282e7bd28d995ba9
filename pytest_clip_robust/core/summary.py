"""Run summary: the models and data that one process loaded and encoded, as plain data for xdist's wire."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypedDict


class RunSummary(TypedDict):
    """The models and data of one process, and how much it encoded.

    models: label -> identity. data: name -> identity. notices: remarks of one line.
    answers_given: answers of large multimodal models. left_to_others: samples that other ranks encode.
    rows_lost: features that the store could not save.
    """

    models: dict[str, dict[str, Any]]
    data: dict[str, dict[str, Any]]
    notices: list[str]
    images_encoded: int
    texts_encoded: int
    answers_given: int
    left_to_others: int
    rows_lost: int


_PARTS = {"weights": "weights", "preprocess": "preprocessing", "text": "tokenizers"}


def changed_models(loads: Iterable[Mapping[str, Mapping[str, Any]]]) -> list[str]:
    """Return one line for each model that was loaded with different content under one name.

    Each of `loads` maps label -> identity, as `RunSummary` does. A checkpoint that is replaced while a run starts gives
    its processes different weights, and the run has no result then.

    >>> changed_models([{"a": {"weights": "0123456789"}}, {"a": {"weights": "abcdefghij"}}])
    ['a: was loaded with different weights, 01234567 and abcdefgh; run again, and do not replace files during the run']
    """
    first: dict[str, Mapping[str, Any]] = {}
    lines: dict[str, str] = {}
    for models in loads:
        for label, identity in models.items():
            earlier = first.setdefault(label, identity)
            for part, name in _PARTS.items():
                one, other = (str(found.get(part, "")) for found in (earlier, identity))
                if one != other:
                    lines.setdefault(
                        label,
                        f"{label}: was loaded with different {name}, {one[:8]} and {other[:8]}; run again, and do not "
                        "replace files during the run",
                    )
    return list(lines.values())


def encoded_line(summary: RunSummary) -> str:
    """Return what models encoded and answered, in words.

    >>> encoded_line(merge_summaries([]))
    'encoded 0 images and 0 texts'
    """
    encoded = f"{summary['images_encoded']:,} images and {summary['texts_encoded']:,} texts"
    return f"encoded {encoded}" + (f", gave {summary['answers_given']:,} answers" if summary["answers_given"] else "")


def merge_summaries(summaries: Iterable[RunSummary]) -> RunSummary:
    """Return the sum of the summaries of all processes of a run."""
    merged = RunSummary(
        models={},
        data={},
        notices=[],
        images_encoded=0,
        texts_encoded=0,
        answers_given=0,
        left_to_others=0,
        rows_lost=0,
    )
    for summary in summaries:
        merged["models"] |= summary["models"]
        for name, about in summary["data"].items():
            merged["data"].setdefault(name, {}).update(about)
        merged["notices"] += [notice for notice in summary["notices"] if notice not in merged["notices"]]
        merged["images_encoded"] += summary["images_encoded"]
        merged["texts_encoded"] += summary["texts_encoded"]
        merged["answers_given"] += summary["answers_given"]
        merged["left_to_others"] += summary["left_to_others"]
        merged["rows_lost"] += summary["rows_lost"]
    return merged
