"""The public interface: every name exists, is imported on first use, and is what docs and type checkers see."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pytest_clip_robust

ROOT = Path(pytest_clip_robust.__file__).parent
REPOSITORY = Path(__file__).resolve().parents[1]
IMPORT = re.compile(r"^\s*(?:from|import) (pytest_clip_robust[\w.]*)", re.MULTILINE)
PUBLIC = {"pytest_clip_robust", "pytest_clip_robust.properties"}


@pytest.mark.parametrize("name", pytest_clip_robust.__all__)
def test_every_public_name_can_be_imported(name):
    assert getattr(pytest_clip_robust, name) is not None
    assert name in dir(pytest_clip_robust)


def test_type_checkers_see_the_same_names():
    (block,) = (node for node in ast.parse((ROOT / "__init__.py").read_text()).body if isinstance(node, ast.If))
    seen = {(alias.name, node.module) for node in block.body for alias in node.names}
    lazy = {(name, f"pytest_clip_robust.{module}") for name, module in pytest_clip_robust._MODULE_OF.items()}
    assert seen == lazy
    assert sorted(pytest_clip_robust.__all__) == sorted([*(name for name, _ in seen), "__version__"])


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'Predicions'"):
        _ = pytest_clip_robust.Predicions


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, pytest_clip_robust; print(sorted({'numpy', 'scipy', 'torch', 'pytest'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))], ids=str)
def test_pages_import_public_names_only(page):
    deeper = {name for name in IMPORT.findall(page.read_text()) if name not in PUBLIC}
    assert not deeper
