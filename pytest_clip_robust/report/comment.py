"""The comment on a pull request: the summary of a run, with a hidden mark by which a later run finds it."""

from __future__ import annotations

import re

from pytest_clip_robust.core.digest import digest
from pytest_clip_robust.gates.verdict import Verdict
from pytest_clip_robust.report.document import Document
from pytest_clip_robust.report.summary import render_summary

MARK = re.compile(r"<!-- clip-robust (?P<content>[0-9a-f]{16}) -->")
DECIMALS = 6


def comment_of(document: Document) -> str:
    """Return the text of the comment on a run."""
    return f"<!-- clip-robust {content_of(document)} -->\n{render_summary(document)}"


def content_of(document: Document) -> str:
    """Return a digest of what the comment is about: all verdicts and values, without times and versions."""
    gates = [
        [record["model"], record["measurement"], record["verdict"], round(record.get("value", 0.0), DECIMALS)]
        for record in document["gates"]
    ]
    conclusions = [[one["model"], one["verdict"]] for one in document["conclusions"]]
    return digest([conclusions, gates])[:16]


def is_ours(text: str) -> bool:
    """Return whether a comment was written by an earlier run."""
    return MARK.search(text) is not None


def is_news(document: Document, earlier: str | None) -> bool:
    """Return whether a run differs from the earlier comment or, without one, whether a gate is not passed."""
    if earlier is None:
        return any(record["verdict"] != Verdict.PASSED for record in document["gates"]) or not document["gates"]
    found = MARK.search(earlier)
    return found is None or found["content"] != content_of(document)
