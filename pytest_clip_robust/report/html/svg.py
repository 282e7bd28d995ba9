"""SVG elements as escaped markup. Colours are left to the page's style sheet, so that plots follow its theme."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from pytest_clip_robust.system.text import printable

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from values ``low`` to ``high`` to positions ``start`` to ``end``, which clips what is outside."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of `value`.

        >>> Scale(0, 1, 10, 110)(0.5), Scale(0, 1, 10, 110)(7), Scale(1, 0, 0, 100)(0.25)
        (60.0, 110.0, 75.0)
        """
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)


def element(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """Return an element; texts and values of attributes are escaped, and control characters are made visible.

    ``class_`` stands for ``class``, and ``stroke_width`` for ``stroke-width``. Attributes that are None are left out.

    >>> print(element("text", "a < b", x=1.23456, class_="name", y=None))
    <text x="1.23" class="name">a &lt; b</text>
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), plain(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = Markup("").join(child if isinstance(child, Markup) else escape(plain(child)) for child in children)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, inside)


def plain(value: object) -> str:
    r"""Return a value as text for the page: numbers with two decimals at most, no control characters.

    >>> plain(2.0), plain(0.126), plain("a\x00b")
    ('2', '0.13', 'a\\x00b')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else printable(str(value))


def breakable(text: str) -> Markup:
    r"""Return a name, escaped, in which a line may break after its parts.

    >>> print(breakable("zero_shot.top1[a<b]"))
    zero_<wbr>shot.<wbr>top1[<wbr>a&lt;b]
    """
    parts = re.findall(r"[^._\[/]*[._\[/]|[^._\[/]+", printable(text))
    return Markup("<wbr>").join(parts)


def path(points: Sequence[Point], **attributes: object) -> Markup:
    """Return a line through the points.

    >>> print(path([(0, 1), (2.5, 3)], class_="now"))
    <path d="M0 1L2.5 3" class="now"></path>
    """
    steps = "L".join(f"{plain(float(x))} {plain(float(y))}" for x, y in points)
    return element("path", d=f"M{steps}", **attributes)


def picture(*children: Markup, title: str, text: str, **attributes: object) -> Markup:
    """Return an SVG that screen readers announce as an image with this title, and with `text` as its description."""
    return element(
        "svg",
        element("title", title),
        element("desc", text),
        *children,
        role="img",
        aria_label=f"{title}. {text}",
        **attributes,
    )


def decoration(*children: Markup, **attributes: object) -> Markup:
    """Return an SVG that screen readers pass over, since the text next to it says the same."""
    return element("svg", *children, aria_hidden="true", focusable="false", **attributes)
