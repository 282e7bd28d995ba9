"""The documentation site is built without a warning, and its pages and the repository's have the same links."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import pytest_clip_robust

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)\s#]+)(?:#([\w-]+))?\)")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_site_is_built_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install -e '.[dev]'")
    pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed: pip install -e '.[dev]'")
    pytest.importorskip("material", reason="mkdocs-material is not installed: pip install -e '.[dev]'")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert built.returncode == 0, built.stderr[-3000:]
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "Is this CLIP checkpoint fit to release?" in page
    reference = (tmp_path / "site" / "reference" / "index.html").read_text(encoding="utf-8")
    assert "content_digest" in reference
    outside = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)', page)
    assert not outside  # it can be read without a network


def test_every_page_has_a_place_on_the_site():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = set(re.findall(r"(\S+\.md)\s*$", text, re.MULTILINE))
    assert {path.name for path in (ROOT / "docs").glob("*.md")} <= pages
    assert yaml.safe_load(text)["strict"]


def test_the_reference_has_every_public_name():
    text = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
    listed = {line.rpartition(".")[2] for line in text.splitlines() if line.startswith("::: ")}
    assert set(pytest_clip_robust.__all__) - {"__version__"} <= listed


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_links_between_files_of_the_repository_exist(page):
    missing = []
    for target, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        path = (page.parent / target).resolve()
        if not path.exists():
            missing.append(target)
        elif anchor and path.suffix == ".md" and anchor not in anchors(path):
            missing.append(f"{target}#{anchor}")
    assert not missing


def anchors(path):
    """Return the anchors of the headings of a page, as GitHub and mkdocs make them."""
    titles = re.findall(r"^#{1,6} (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    words = (re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)).lower() for title in titles)
    return {re.sub(r" ", "-", one.strip()) for one in words}
