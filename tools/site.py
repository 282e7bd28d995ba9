"""Hooks of mkdocs: pages that are made of files outside of docs/, and links to them.

    pip install -e '.[docs]' && mkdocs build

The README is the first page. Links between pages work both on the site and where the files are read in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]

PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "tests/README.md": "tests.md",
    "LICENSE": "LICENSE.txt",
    "pytest_clip_robust/showroom/data/README.md": "showroom/data.md",
    "pytest_clip_robust/showroom/data/CREDITS.md": "showroom/credits.md",
    "pytest_clip_robust/showroom/models/showroom-clip/README.md": "showroom/showroom-clip.md",
    "pytest_clip_robust/showroom/lmms/showroom-lmm/README.md": "showroom/showroom-lmm.md",
    "pytest_clip_robust/showroom/panel/README.md": "showroom/panel.md",
    "pytest_clip_robust/report/report.schema.json": "report.schema.json",
}
"""Where on the site a file of the repository is; those of docs/ keep their places."""
LINK = re.compile(r"(\]\(|src=\")(?!https?:|#|mailto:)([^)\s\"#]+)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are outside of docs/."""
    for source, place in PAGES.items():
        if (ROOT / source).exists():
            files.append(File.generated(config, place, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    place = page.file.src_uri
    source = next((source for source, of_site in PAGES.items() if of_site == place), f"docs/{place}")

    def linked(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match[2]))
        of_site = PAGES.get(target, target.removeprefix("docs/") if target.startswith("docs/") else "")
        return f"{match[1]}{posixpath.relpath(of_site, posixpath.dirname(place) or '.')}" if of_site else match[0]

    return LINK.sub(linked, markdown)
