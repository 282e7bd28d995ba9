"""The content of a stored row about a pair of pictures; apart from the matching itself, which imports torch."""

from __future__ import annotations

VERSION = 1
"""Part of the store key: it changes whenever the same features would give other matches."""

MATCHES = 1000
"""At most this many matches per pair are kept, those with the best ratio test."""

DRAWN = 40
"""At most this many matches of a pair are drawn."""

PADDING = -1.0
"""Fills a row up to its width; errors are never negative."""
