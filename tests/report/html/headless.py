"""Headless Chromium: the page after its script, and what the script logs."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")


def browse(page: str, folder: Path, *, probe: str = "", flags: tuple[str, ...] = ()) -> tuple[object, list[str]]:
    """Open a page, and return the value of the expression `probe` with the lines that the console has.

    The test is skipped where no browser is found. With a probe, the page's policy is removed, since it forbids
    scripts that the page did not have when it was written.
    """
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is installed")
    if probe:
        page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
        script = f"document.body.dataset.found = JSON.stringify((() => {{ {probe} }})());"
        page = page.replace("</body>", f"<script>{script}</script></body>")
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    ran = subprocess.run(
        [
            program, "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
            f"--user-data-dir={folder / 'profile'}", *flags, "--dump-dom", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if ran.returncode:
        pytest.skip(f"{program} does not start here: {ran.stderr[-300:]}")
    console = [line for line in ran.stderr.splitlines() if "CONSOLE" in line]
    found = re.search(r'data-found="([^"]*)"', ran.stdout)
    return (json.loads(html.unescape(found[1])) if found else None), console
