"""The suites, profiles and panels that come with the package: in a wheel inside of it, in a checkout next to it."""

from __future__ import annotations

from pathlib import Path

SUITES = "pytest_clip_robust.suites"
PROFILES, PANELS = "profiles", "panels"
PACKAGE = Path(__file__).resolve().parents[1]


def suites_folder(package: Path = PACKAGE) -> Path:
    """Return the folder of the suites."""
    installed = package / "suites"
    return installed if installed.is_dir() else package.parent / "suites"


def shipped_suites(package: Path = PACKAGE) -> list[str]:
    """Return the arguments with which pytest runs the suites."""
    folder = suites_folder(package)
    return ["--pyargs", SUITES] if folder.parent == package else [str(folder)]


def shipped_profiles() -> dict[str, Path]:
    """Return the paths of the profiles, by name."""
    return shipped_files(PROFILES)


def shipped_files(kind: str) -> dict[str, Path]:
    """Return the paths of the TOML files of a kind, `PROFILES` or `PANELS`, by name."""
    return {path.stem: path for path in sorted((suites_folder() / kind).glob("*.toml"))}
