"""Results of the study on a panel besides its findings: robustness to factors, shares of factors, published lines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorResidual:
    """A model's effective robustness to one factor.

    average, accuracy: over all annotated images, and over those with the factor (0-1). expected: the line's accuracy.
    residual: in points (0-100), with its 95 % interval over images and reference models. n: images with the factor.
    reference: whether the line was fitted to the model, among others.
    """

    factor: str
    model: str
    reference: bool
    average: float
    accuracy: float
    expected: float
    residual: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A share of variation, 1 for all of it, with its 95 % interval; below 0, the mean predicts better."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FactorShare:
    """The share of a property's variation that one factor explains, or ``all`` factors together.

    alone: R² with this factor only, or with all. unique: the fall of R² if only this factor is left out; None for
    ``all``. Both are None for a factor that has one level in the panel. models, families: the numbers of those that
    were measured. warning: why the shares mean little, or ``""``.
    """

    metric: str
    dataset: str
    factor: str
    alone: Share | None
    unique: Share | None
    models: int
    families: int
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPoint:
    """A model under a shift, and the accuracy of a published panel's line at its accuracy in distribution (all 0-1)."""

    panel: str
    dataset: str
    model: str
    id_accuracy: float
    shifted_accuracy: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResults:
    """All of it for one panel. no_residuals, no_shares: why there are no residuals or shares, or ``""``.

    warnings: why the shares of a factor mean little, by factor.
    """

    residuals: tuple[FactorResidual, ...] = ()
    no_residuals: str = ""
    shares: tuple[FactorShare, ...] = ()
    no_shares: str = ""
    warnings: Mapping[str, str] = field(default_factory=dict)
    published: tuple[PublishedPoint, ...] = ()
