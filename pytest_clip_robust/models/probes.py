"""Inputs that tokenizers are told apart by, and that towers are tried with."""

from __future__ import annotations

PROBE_TEXTS = ("a photo of a cat.", "Zoë's naïve café, 東京 2024!", "UPPER lower  spaces\ttabs", "word " * 200, "")
"""Texts that cover cases, accents, other scripts, white space, truncation and nothing; part of the text digest."""

SHORT_TEXTS = tuple(text for text in PROBE_TEXTS if len(text) < 100)
"""Those that leave room for padding."""
