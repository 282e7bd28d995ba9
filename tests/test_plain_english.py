"""Tests that docstrings, comments, messages and docs avoid phrases that readers have to read twice."""

from __future__ import annotations

import ast
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CODE = sorted(path for folder in ("pytest_clip_robust", "suites") for path in (ROOT / folder).rglob("*.py"))
PAGES = [*sorted(ROOT.glob("docs/*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md"))]

COUNTED = "images|samples|rows|texts|files|folders|captions|pixels|numbers|features|photographs|GiB|bytes|workers?"
UNITS = "batch|class|core|second|image|line|key|worker|GPU|template|sample|feature|pixel"
INSTEAD = {
    rf"\b({COUNTED}) an? ({UNITS})\b": "N per M",
    r"\b(is|are) (?-i:none)\b": "is not",
    r"\b(whatever|whoever|whichever)\b": "any, every, or a plain noun",
    r"\bbeside\b": "next to, in addition to",
    r"\banew\b": "again, re-",
    r"\bmend(s|ed|ing)?\b": "fix",
    r"\bhangs? on\b": "depend on",
    r"\bpoints? nowhere\b": "has no direction: its norm is zero",
    r"\bthereof\b": "of it",
    r"\balike\b": "equally, in the same way",
    r"\b(nobody|somebody)\b": "name who, or use the passive",
    r"\bforeign\b": "third-party, untrusted",
    r"\bstands? in for\b": "replaces",
    r"\bmakes? no odds\b": "does not matter",
    r"\blies? (there|next to|beside)\b": "is in, is stored in",
}
RIDDLE = re.compile(r"(What|Where|How|From|Who|Whose|Which)\b")
NOT_IMPERATIVE = re.compile(r"(Give|Tell|Say)s?\b")


@pytest.mark.parametrize("path", [*CODE, *PAGES], ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_avoid_phrases_that_are_hard_to_read(path):
    found = [
        f"{path.relative_to(ROOT)}:{first + text[: match.start()].count(chr(10))}: {match[0]!r}; say: {instead}"
        for first, text in texts(path)
        for phrase, instead in INSTEAD.items()
        for match in re.finditer(phrase.replace(" ", r"\s+"), text, re.IGNORECASE)
    ]
    assert not found, "\n".join(found)


def texts(path):
    """Return (line, text) pairs: the comments and strings of a module, or a whole page."""
    if path.suffix == ".md":
        return [(1, path.read_text(encoding="utf-8"))]
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    with tokenize.open(path) as file:
        return [(one.start[0], one.string) for one in tokenize.generate_tokens(file.readline) if one.type in kinds]


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_name_the_thing_or_the_action(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            first = (ast.get_docstring(node) or "").partition("\n")[0]
            wrong = NOT_IMPERATIVE if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) else RIDDLE
            if wrong.match(first):
                found.append(f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}: {first}")
    assert not found, "\n".join(found)
