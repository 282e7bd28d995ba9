"""Inputs that tokenizers are told apart by, and that towers are tried with."""

from __future__ import annotations

PROBE_TEXTS = ("a photo of a cat.", "Zoë's naïve café, 東京 2024!", "UPPER lower  spaces\ttabs", "word " * 200, "")
"""Texts that cover cases, accents, other scripts, white space, truncation and nothing; part of the text digest."""

PADDED_TEXTS = ("a photo of a cat.", "")
"""Texts that are shorter than any context, also than one of 16 tokens."""
