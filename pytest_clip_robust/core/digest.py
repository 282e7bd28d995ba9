"""Digests: short names for data that must be recognised again."""

from __future__ import annotations

import hashlib


def combine_digests(*digests: str) -> str:
    """Return one digest for several; equal ones count once."""
    distinct = list(dict.fromkeys(digests))
    return distinct[0] if len(distinct) == 1 else hashlib.sha256("|".join(distinct).encode()).hexdigest()
