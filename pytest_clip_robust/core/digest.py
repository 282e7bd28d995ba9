"""Digests: SHA-256 names for values that must be recognised again."""

from __future__ import annotations

import hashlib
import json


def digest(value: object) -> str:
    """Return the 64 hex digits of SHA-256 over `value` as JSON with sorted keys.

    Raises:
        TypeError: `value` holds something that JSON cannot express.

    >>> digest({"b": 1, "a": [2]}) == digest({"a": [2], "b": 1})
    True
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def combine_digests(*digests: str) -> str:
    """Return one digest for several; equal ones count once.

    >>> combine_digests("ab", "ab")
    'ab'
    """
    distinct = list(dict.fromkeys(digests))
    return distinct[0] if len(distinct) == 1 else hashlib.sha256("|".join(distinct).encode()).hexdigest()
