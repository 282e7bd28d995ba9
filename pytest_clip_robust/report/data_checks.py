"""The table of ``--clip-data-check``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.text import Text

from pytest_clip_robust.core.data_checks import CheckedSet, Presence
from pytest_clip_robust.report.terminal import draw, empty_table
from pytest_clip_robust.system.text import printable

STYLES = {
    Presence.MISSING: "bold red",
    Presence.DAMAGED: "bold red",
    Presence.DIFFERS: "yellow",
    Presence.HUB: "cyan",
    Presence.THERE: "green",
}


def render_data_checks(sets: Sequence[CheckedSet], *, width: int, colour: bool) -> str:
    """Return the table of all sets, and below it a line with the way out for each set that needs one."""
    table = empty_table()
    table.add_column("data", no_wrap=True)
    table.add_column("role", overflow="fold", ratio=1)
    table.add_column("set", no_wrap=True)
    table.add_column("found", overflow="fold", ratio=3)
    for one in sets:
        table.add_row(
            Text(str(one.presence), style=STYLES[one.presence]),
            ", ".join(one.roles),
            printable(one.name),
            Text(printable(one.found)),
        )
    text = draw([table, *map(_hint_line, filter(lambda one: one.hint, sets))], width=width, colour=colour)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def tally(sets: Sequence[CheckedSet]) -> str:
    """Return how many sets there are of each kind.

    >>> tally([CheckedSet(name="a", roles=("id",), presence=Presence.THERE, found="2 images")])
    '1 there'
    """
    counts = Counter(one.presence for one in sets)
    return ", ".join(f"{counts[presence]} {presence}" for presence in Presence if counts[presence])


def _hint_line(one: CheckedSet) -> Text:
    licence = f" (licence: {printable(one.licence)})" if one.licence else ""
    return Text.assemble(
        (f"{one.presence} {printable(one.name)}: ", STYLES[one.presence]), printable(one.hint), licence
    )
