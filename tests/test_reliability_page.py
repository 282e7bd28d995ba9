"""Test that docs/reliability.md names tests that exist, and counts what it has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
REFERENCE = re.compile(r"`(tests/[^`]+)`")
NAMED = sorted(set(REFERENCE.findall(PAGE)))
HEADER = "| input or fault"


@pytest.mark.parametrize("named", NAMED)
def test_every_test_that_the_page_names_exists(named):
    path, _, name = named.partition("::")
    assert (ROOT / path).is_file()
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert not name or name in functions


def sections():
    """Return the rows of every section that has a table of inputs and faults."""
    found = {}
    for section in PAGE.split("\n## ")[1:]:
        title, _, text = section.partition("\n")
        if f"\n{HEADER}" in text:
            lines = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(HEADER)]
            found[title] = lines
    return found


def test_every_row_names_a_test():
    rows = [row for of_section in sections().values() for row in of_section]
    assert len(rows) > 150
    assert [row for row in rows if "`tests/" not in row] == []


def counts():
    """Return the table of counts that the page must have."""
    lines = ["| kind | inputs and faults | tests |", "|---|---|---|"]
    everything = sections()
    for title, rows in everything.items():
        lines.append(f"| {title} | {len(rows)} | {len(named_in(rows))} |")
    rows = [row for of_section in everything.values() for row in of_section]
    return "\n".join([*lines, f"| all | {len(rows)} | {len(named_in(rows))} |"])


def named_in(rows):
    return {name for row in rows for name in REFERENCE.findall(row)}


def test_the_table_of_counts_is_right():
    """After a change of the page, put in the table that this test shows."""
    assert counts() in PAGE, f"expected this table in docs/reliability.md:\n{counts()}"
