"""The style of the plots of benchmarks, as files in which equal numbers give equal bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def pyplot(name: str) -> Any:
    """Return matplotlib's pyplot without a screen; `name` makes the ids in an SVG file the same each time."""
    import matplotlib as mpl

    mpl.use("agg")
    mpl.rcParams.update({"svg.hashsalt": name, "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot as plt

    return plt


def tidy(axis: Any) -> None:
    """Leave out the frame at the top and on the right, and draw light lines across."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(axis="y", color="#e5e7eb", linewidth=0.8)


def save(figure: Any, path: Path) -> None:
    """Write a figure, an SVG file without its date."""
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
