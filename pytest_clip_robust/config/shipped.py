"""Files that come with the suites, by name: profiles and panels."""

from __future__ import annotations

from pathlib import Path

PROFILES, PANELS = "profiles", "panels"


def shipped_files(kind: str) -> dict[str, Path]:
    """Return the paths of the TOML files of a kind, `PROFILES` or `PANELS`, by name."""
    here = Path(__file__).parent.parent
    installed, checkout = here / "suites", here.parent / "suites"
    folder = (installed if installed.is_dir() else checkout) / kind
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}
