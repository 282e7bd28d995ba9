"""The layers of docs/architecture.md hold: the table there is read, and so is every import of the package."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PACKAGE = REPOSITORY / "pytest_clip_robust"
PAGE = REPOSITORY / "docs" / "architecture.md"
ROW = re.compile(r"^\| `([\w.]+?)(?:/|\.py)` \| .+ \| (.+) \|$", re.MULTILINE)
FACE = "pytest_clip_robust"
"""The package root imports public names on first use, and everything may ask it for the version."""


@cache
def modules(package: Path = PACKAGE) -> dict[str, ast.Module]:
    """Parse every module, by dotted name."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


def imports(name: str, tree: ast.Module, known: set[str], *, lazy: bool = True) -> set[str]:
    """Return the modules of ours that a module imports; `lazy` counts imports inside of functions as well."""
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == FACE:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.add(whole if whole in known else node.module)
    return found - {name}


def layer(module: str) -> str:
    """Return the part of the package that a module belongs to: its folder, or its file in the root."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else FACE


def documented() -> dict[str, set[str]]:
    """Read the table: layers from top to bottom, each with the layers that it imports."""
    return {name: set(re.findall(r"`(\w+)`", allowed)) for name, allowed in ROW.findall(PAGE.read_text("utf-8"))}


@cache
def real() -> dict[str, set[str]]:
    """Return the layers that each layer imports."""
    trees, found = modules(), defaultdict(set)
    for name, tree in trees.items():
        found[layer(name)] |= {layer(other) for other in imports(name, tree, set(trees))}
    return {name: others - {name, FACE} for name, others in found.items() if name != FACE}


def test_the_table_names_every_folder_and_file_of_the_root():
    there = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    assert set(documented()) == there - {"__init__", "suites"}


@pytest.mark.parametrize("name", sorted(documented()))
def test_a_layer_imports_what_its_row_says_and_nothing_else(name):
    assert real()[name] == documented()[name]


def test_no_layer_imports_one_above_it():
    order = list(documented())
    upward = [(name, other) for name in order for other in real()[name] if order.index(other) <= order.index(name)]
    assert not upward


def test_no_module_takes_part_in_a_cycle():
    trees = modules()
    graph = {name: imports(name, tree, set(trees)) - {FACE} for name, tree in trees.items() if name != FACE}
    # A package is imported before its modules, but need not import them.
    TopologicalSorter(graph).prepare()


def test_only_the_plugin_imports_pytest():
    testing = {"pytest", "_pytest", "syrupy", "xdist", "pluggy"}
    guilty = {
        name
        for name, tree in modules().items()
        if layer(name) != "plugin"
        for node in ast.walk(tree)
        if {n.split(".")[0] for n in _absolute(node)} & testing
    }
    assert not guilty


def test_properties_and_statistics_know_no_torch():
    heavy = {"torch", "open_clip", "timm", "transformers", "datasets"}
    pure = {"properties", "scoring", "stats", "core"}
    guilty = {
        name
        for name, tree in modules().items()
        if layer(name) in pure
        for node in ast.walk(tree)
        if {n.split(".")[0] for n in _absolute(node)} & heavy
    }
    assert not guilty


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("pytest_clip_robust.stats.roc", "from pytest_clip_robust.properties import ood"),
        ("pytest_clip_robust.scoring.cues", "from pytest_clip_robust.evaluation.session import Session"),
        ("pytest_clip_robust.core.digest", "import pytest_clip_robust.plugin.gate"),
    ],
)
def test_an_import_that_is_turned_round_is_found(module, line):
    """The checks above see such an import, wherever it stands."""
    known = set(modules())
    (other,) = imports(module, ast.parse(f"def late():\n    {line}\n"), known)
    order = list(documented())
    assert order.index(layer(other)) < order.index(layer(module))
    assert layer(other) not in documented()[layer(module)]


def _absolute(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    return {node.module} if isinstance(node, ast.ImportFrom) and node.module and not node.level else set()
