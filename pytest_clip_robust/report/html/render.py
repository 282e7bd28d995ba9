"""Rendering of pages from their templates, with every text escaped, and of index.html."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup

from pytest_clip_robust.errors import ReportError
from pytest_clip_robust.report import numbers
from pytest_clip_robust.report.document import Document
from pytest_clip_robust.report.html.page import build_page
from pytest_clip_robust.report.html.pictures import EMPTY, PAGE_LIMIT, Album, Pictures, album_of
from pytest_clip_robust.report.html.svg import breakable, plain
from pytest_clip_robust.system.files import write_whole

TEMPLATES = Path(__file__).parent / "templates"


def render_page(document: Document, pictures: Pictures | None = None) -> str:
    """Return index.html of a run: one file that loads nothing from elsewhere.

    Args:
        document: as `build_document` or `read_report` returns it.
        pictures: of samples, by data set and sample, most wanted first; those for which the page has room are shown.
    """
    album = album_of(pictures, room=PAGE_LIMIT) if pictures else EMPTY
    page = _render(document, album)
    excess = len(page.encode()) - PAGE_LIMIT
    if excess > 0 and album.pictures:
        return _render(document, album_of(pictures or {}, room=album.size - excess))
    return page


def _render(document: Document, album: Album) -> str:
    return render_template(
        "page.html.j2", styles=("page.css",), scripts=("theme.js", "page.js"), page=build_page(document, album)
    )


def render_template(name: str, *, styles: Sequence[str], scripts: Sequence[str], **content: object) -> str:
    """Return a page from a template of this package, with its styles and scripts in it.

    The policy of the page names the digest of `script`, so that no other one runs.
    """
    environment = _environment()
    style, script = (
        "".join(environment.loader.get_source(environment, part)[0] for part in parts)  # type: ignore[union-attr]
        for parts in (styles, scripts)
    )
    return environment.get_template(name).render(
        style=Markup(style),  # noqa: S704 - files of this package
        script=Markup(script),  # noqa: S704 - files of this package
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        **content,
    )


def write_page(document: Document, path: Path, pictures: Pictures | None = None) -> None:
    """Write index.html whole or not at all.

    Raises:
        ReportError: the folder cannot be written.
    """
    try:
        write_whole(path, render_page(document, pictures).encode())
    except OSError as error:
        raise ReportError(f"--clip-report {path.parent}: cannot write {path.name}: {error}") from error


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_visible,
    )
    names = ("number", "signed", "span", "probability", "short")
    environment.filters |= {name: getattr(numbers, name) for name in names}
    environment.filters["breakable"] = breakable
    environment.filters["things"] = numbers.count
    return environment


def _visible(value: object) -> object:
    """Return a value with control characters and characters that reorder text made visible; markup is left as it is."""
    return value if isinstance(value, Markup) else plain(value)
