"""Numbers as they are written in index.html, summary.md and annotations."""

from __future__ import annotations

from typing import Any

MINUS = "\N{MINUS SIGN}"

SMALLEST = 5e-5
"""Smaller values are written as zero."""


def number(value: float) -> str:
    """Return a value with as many decimals as its size needs; whole numbers from 2 on, such as counts, have none.

    >>> number(24.0), number(1.0), number(2.5)
    ('24', '1.000', '2.500')
    >>> number(0.41666), number(12.345), number(5041.0), number(0.00042), number(-1.5) == MINUS + "1.500"
    ('0.417', '12.35', '5,041', '0.0004', True)
    """
    size = abs(value)
    if size < SMALLEST:
        return "0.000"
    whole = size >= 2 and float(value).is_integer()
    decimals = 0 if whole or size >= 1000 else 2 if size >= 10 else 3 if size >= 0.001 else 4
    return f"{value:,.{decimals}f}".replace("-", MINUS)


def signed(value: float) -> str:
    """Return a difference with its sign.

    >>> signed(0.0933), signed(1e-9), signed(-0.0667) == MINUS + "0.067"
    ('+0.093', '0.000', True)
    """
    return f"+{number(value)}" if value >= SMALLEST else number(value)


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


def short(value: Any, longest: int = 12) -> str:
    """Return the beginning of a digest.

    >>> short("7af39278968cf904b456"), short("")
    ('7af39278968c', '')
    """
    return str(value or "")[:longest]
