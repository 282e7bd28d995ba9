"""Gate CLIP checkpoints on robustness, as pytest tests with thresholds."""

from __future__ import annotations

__version__ = "0.1.0"
