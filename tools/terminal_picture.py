"""Picture of a terminal: turn the coloured output of a command into an SVG for the README.

COLUMNS=150 pytest --color=yes ... | python tools/terminal_picture.py --width 152 docs/images/reference.svg "pytest ..."
"""

from __future__ import annotations

import argparse
import io
import sys

from rich.console import Console
from rich.text import Text


def main(target: str, title: str, lines: list[str], *, width: int) -> None:
    """Write `lines`, which can contain ANSI colours, to the SVG file `target`."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=False)
    console.save_svg(target, title=title)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", help="SVG file to write")
    parser.add_argument("title", help="title of the window")
    parser.add_argument("--width", type=int, default=124, help="columns of the terminal (default: 124)")
    options = parser.parse_args()
    main(options.target, options.title, sys.stdin.readlines(), width=options.width)
