"""Turn the coloured output of a command into an SVG for the README.

COLUMNS=110 pytest --color=yes ... | python tools/terminal_picture.py docs/images/run.svg "pytest --model ..."
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text


def main(target: str, title: str, lines: list[str], *, width: int = 124) -> None:
    """Write `lines`, which may hold ANSI colours, to the SVG file `target`."""
    with open("/dev/null", "w", encoding="utf-8") as nowhere:  # noqa: PTH123 - Console wants an open file
        console = Console(record=True, width=width, file=nowhere, force_terminal=True, color_system="truecolor")
        for line in lines:
            console.print(Text.from_ansi(line.rstrip("\n")), soft_wrap=False)
        console.save_svg(target, title=title)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.stdin.readlines())
