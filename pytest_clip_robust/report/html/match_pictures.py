"""Match pictures: two images side by side, with lines between the points that a model takes for the same."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pytest_clip_robust.gates.record import PairRecord, Record
from pytest_clip_robust.report.html.panel import Plot
from pytest_clip_robust.report.html.pictures import Album, Shot
from pytest_clip_robust.report.html.svg import element, picture
from pytest_clip_robust.report.numbers import count

SIDE, GAP = 160.0, 12.0
"""The longer side of an image and the space between the two, in pixels of the drawing."""


def match_shots(records: Sequence[Record]) -> list[Shot]:
    """Return the images of all pairs that are drawn."""
    return [
        Shot(record["dataset"], image)
        for record in records
        for pair in record.get("pairs", ())
        for image in pair["images"]
    ]


def match_plots(record: Record, album: Album) -> list[Plot]:
    """Return a drawing of each pair of a gate, the one with the most right matches first."""
    words = ("most right matches", "fewest right matches") if len(record["pairs"]) > 1 else ("the only pair",)
    return [_plot(record, pair, word, album) for pair, word in zip(record["pairs"], words, strict=False)]


def _plot(record: Record, pair: PairRecord, words: str, album: Album) -> Plot:
    ids = [album.name_of(record["dataset"], image) for image in pair["images"]]
    sizes = [_size(one, album) for one in ids]
    lefts = (0.0, sizes[0][0] + GAP)
    height = max(high for _, high in sizes)
    parts = [_image(one, left, size) for one, left, size in zip(ids, lefts, sizes, strict=True)]
    # Right matches are drawn last, above wrong ones.
    for place, right in sorted(zip(pair["places"], pair["right"], strict=True), key=lambda match: match[1]):
        ends = [
            (left + place[2 * side] * sizes[side][0], place[2 * side + 1] * sizes[side][1])
            for side, left in enumerate(lefts)
        ]
        parts.append(_line(ends, "right" if right else "wrong"))
    drawing = picture(
        *parts,
        title=f"Matches between {' and '.join(pair['images'])}",
        text=f"{pair['share']:.0%} of the matches are right; {count(len(pair['right']), 'match', 'matches')} drawn",
        viewBox=f"0 0 {lefts[1] + sizes[1][0]:g} {height:g}",
        class_="chart matches",
    )
    return Plot(drawing, f"{words}, {pair['share']:.0%}: {' and '.join(pair['images'])}")


def _image(name: str, left: float, size: tuple[float, float]) -> Markup:
    box = {"x": left, "y": 0, "width": size[0], "height": size[1]}
    return element("use", href=f"#{name}", **box) if name else element("rect", class_="missing", **box)


def _line(ends: Sequence[tuple[float, float]], kind: str) -> Markup:
    (x1, y1), (x2, y2) = ends
    dots = [element("circle", cx=x, cy=y, r=1.8) for x, y in ends]
    return element("g", element("line", x1=x1, y1=y1, x2=x2, y2=y2), *dots, class_=f"match {kind}")


def _size(name: str, album: Album) -> tuple[float, float]:
    """Return the width and height at which a picture is drawn; a square for one that the page does not have."""
    found = album.pictures.get(name)
    if found is None:
        return SIDE, SIDE
    scale = SIDE / max(found.width, found.height)
    return found.width * scale, found.height * scale
