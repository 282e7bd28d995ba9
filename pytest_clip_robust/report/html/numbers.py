"""Numbers as they are written in the page and in summary.md."""

from __future__ import annotations

import re
from typing import Any

from markupsafe import Markup

from pytest_clip_robust.system.text import printable

MINUS = "\N{MINUS SIGN}"


def number(value: float) -> str:
    """Return a value with as many decimals as its size needs.

    >>> number(0.41666), number(12.345), number(5041.0), number(0.00042), number(-1.5) == MINUS + "1.500"
    ('0.417', '12.35', '5,041', '0.0004', True)
    """
    size = abs(value)
    decimals = 0 if size >= 1000 else 2 if size >= 10 else 3 if size >= 0.001 or not size else 4
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def signed(value: float) -> str:
    """Return a difference with its sign.

    >>> signed(0.0933), signed(0.0), signed(-0.0667) == MINUS + "0.067"
    ('+0.093', '0.000', True)
    """
    return f"+{number(value)}" if value > 0 else number(value)


def span(low: float, high: float) -> str:
    """Return an interval.

    >>> span(0.3643, 0.4799)
    '0.364 to 0.480'
    """
    return f"{number(low)} to {number(high)}"


def probability(p: float | None) -> str:
    """Return a p-value with two digits, or ``""`` where there is not one.

    >>> probability(0.0481), probability(1.2e-19), probability(None)
    ('0.048', '1.2e-19', '')
    """
    return "" if p is None else f"{p:.2g}".replace("e-0", "e-")


def count(n: float, noun: str, plural: str = "") -> str:
    """Return a number of things.

    >>> count(1, "gate"), count(1234, "gate")
    ('1 gate', '1,234 gates')
    """
    return f"{n:,.0f} {noun if n == 1 else plural or noun + 's'}"


def breakable(text: str) -> Markup:
    r"""Return a name, escaped, in which a line may break after its parts.

    >>> print(breakable("zero_shot.top1[a<b]"))
    zero_<wbr>shot.<wbr>top1[<wbr>a&lt;b]
    """
    parts = re.findall(r"[^._\[/]*[._\[/]|[^._\[/]+", printable(text))
    return Markup("<wbr>").join(parts)


def short(value: Any, longest: int = 12) -> str:
    """Return the beginning of a digest.

    >>> short("7af39278968cf904b456"), short("")
    ('7af39278968c', '')
    """
    return str(value or "")[:longest]
