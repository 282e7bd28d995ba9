"""What one process loaded and encoded, as plain data that crosses xdist's wire."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypedDict


class RunSummary(TypedDict):
    """models: label -> identity; data: name -> identity; notices: one-line remarks; and how much was encoded."""

    models: dict[str, dict[str, Any]]
    data: dict[str, dict[str, Any]]
    notices: list[str]
    images_encoded: int
    texts_encoded: int


def merge_summaries(summaries: Iterable[RunSummary]) -> RunSummary:
    """Add up what the processes of one run say."""
    merged = RunSummary(models={}, data={}, notices=[], images_encoded=0, texts_encoded=0)
    for summary in summaries:
        merged["models"] |= summary["models"]
        for name, about in summary["data"].items():
            merged["data"].setdefault(name, {}).update(about)
        merged["notices"] += [notice for notice in summary["notices"] if notice not in merged["notices"]]
        merged["images_encoded"] += summary["images_encoded"]
        merged["texts_encoded"] += summary["texts_encoded"]
    return merged
