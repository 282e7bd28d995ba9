"""Gate CLIP checkpoints on robustness, as pytest tests with thresholds.

The names below are the public interface, together with the functions of `pytest_clip_robust.properties`. They are
imported on first use, so that the plugin costs other projects nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytest_clip_robust.core.evidence import Evidence, Stratum, Term, mean_evidence, sums_evidence
    from pytest_clip_robust.core.measurement import Interval, Measurement, Metric, Miss, Provenance
    from pytest_clip_robust.core.predictions import Predictions
    from pytest_clip_robust.corruptions.registry import corrupt
    from pytest_clip_robust.errors import (
        BaselineError,
        ClipRobustError,
        ConfigError,
        DataError,
        MeasurementError,
        ModelError,
        ReportError,
        StoreError,
    )
    from pytest_clip_robust.evaluation.notebook import evaluate
    from pytest_clip_robust.models.checkpoint import content_digest
    from pytest_clip_robust.models.dense import dense_encoder
    from pytest_clip_robust.models.protocols import Classifies, DualEncoder, PreprocessSteps
    from pytest_clip_robust.report.document import read_report
    from pytest_clip_robust.report.panel_files import read_panel_table
    from pytest_clip_robust.scoring.confidence import probability_confidences
    from pytest_clip_robust.stats.intervals import mean_interval, wilson
    from pytest_clip_robust.stats.resampling import interval_of

__version__ = "0.1.0"

__all__ = [
    "BaselineError",
    "Classifies",
    "ClipRobustError",
    "ConfigError",
    "DataError",
    "DualEncoder",
    "Evidence",
    "Interval",
    "Measurement",
    "MeasurementError",
    "Metric",
    "Miss",
    "ModelError",
    "Predictions",
    "PreprocessSteps",
    "Provenance",
    "ReportError",
    "StoreError",
    "Stratum",
    "Term",
    "__version__",
    "content_digest",
    "corrupt",
    "dense_encoder",
    "evaluate",
    "interval_of",
    "mean_evidence",
    "mean_interval",
    "probability_confidences",
    "read_panel_table",
    "read_report",
    "sums_evidence",
    "wilson",
]

_MODULES = {
    "core.evidence": ("Evidence", "Stratum", "Term", "mean_evidence", "sums_evidence"),
    "core.measurement": ("Interval", "Measurement", "Metric", "Miss", "Provenance"),
    "core.predictions": ("Predictions",),
    "corruptions.registry": ("corrupt",),
    "errors": (
        "BaselineError",
        "ClipRobustError",
        "ConfigError",
        "DataError",
        "MeasurementError",
        "ModelError",
        "ReportError",
        "StoreError",
    ),
    "evaluation.notebook": ("evaluate",),
    "models.checkpoint": ("content_digest",),
    "models.dense": ("dense_encoder",),
    "models.protocols": ("Classifies", "DualEncoder", "PreprocessSteps"),
    "report.document": ("read_report",),
    "report.panel_files": ("read_panel_table",),
    "scoring.confidence": ("probability_confidences",),
    "stats.intervals": ("mean_interval", "wilson"),
    "stats.resampling": ("interval_of",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
