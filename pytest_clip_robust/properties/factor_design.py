"""The six factors of models as columns of a regression, and which of them a panel cannot tell apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.panel_table import ModelFactors

SIX = ("architecture", "training data", "training size", "fine-tuning", "loss", "prompts")
"""The factors, in the study's order."""

UNKNOWN = "unknown"
CONFOUNDED = 0.8
"""If other factors explain this share of a factor's columns (adjusted R²), its own share cannot be told from theirs."""

_CATEGORIES: Mapping[str, Callable[[ModelFactors], str | None]] = {
    "architecture": lambda one: one.family,
    "training data": lambda one: one.training_data,
    "fine-tuning": lambda one: one.fine_tuning,
    "loss": lambda one: one.loss,
    "prompts": lambda one: one.prompts,
}
_NUMBERS: Mapping[str, tuple[Callable[[ModelFactors], float | None], ...]] = {
    "architecture": (lambda one: one.parameters,),
    "training size": (lambda one: one.training_pairs, lambda one: one.samples_seen),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The columns (M, C) of each factor for M models, standardised; C is 0 for a factor that has one level."""

    columns: Mapping[str, Floats]


def design_of(models: Sequence[ModelFactors]) -> Design:
    """Return the columns of the six factors.

    architecture: the family of the image tower, and log10 of the number of parameters. training size: log10 of the
    numbers of pairs and of samples seen. The others are categories. A category has one column per level, of which
    unknown is one; an unknown number is the mean of the known ones, and marked by a column of its own.
    """
    columns = {}
    for factor in SIX:
        parts: list[Floats] = []
        if factor in _CATEGORIES:
            names = [_CATEGORIES[factor](one) or UNKNOWN for one in models]
            parts += [np.array([name == level for name in names], np.float64) for level in sorted(set(names))]
        for number in _NUMBERS.get(factor, ()):
            values = np.array([np.log10(found) if (found := number(one)) else np.nan for one in models])
            known = np.isfinite(values)
            parts += [
                np.where(known, values, values[known].mean() if known.any() else 0.0),
                (~known).astype(np.float64),
            ]
        columns[factor] = _standardised(parts, len(models))
    return Design(columns=columns)


def confounding(design: Design) -> dict[str, str]:
    """Return, for the factors whose share means little, one line why: a single level, or confounded with others."""
    found = {}
    for factor in SIX:
        own = design.columns[factor]
        if not own.shape[1]:
            found[factor] = "has one level in this panel, so its share is not known"
            continue
        others = {name: columns for name, columns in design.columns.items() if name != factor and columns.shape[1]}
        partners = [name for name, columns in others.items() if explained(own, columns) >= CONFOUNDED]
        if partners:
            found[factor] = f"goes together with {' and '.join(partners)} in this panel: they cannot be told apart"
        elif others and explained(own, np.hstack(list(others.values()))) >= CONFOUNDED:
            found[factor] = "follows from the other factors together in this panel: they cannot be told apart"
    return found


def explained(columns: Floats, by: Floats) -> float:
    """Return the adjusted R² of (M, C) standardised columns on (M, D) others, by least squares; 1 if D is too large.

    >>> one = np.array([[1.0], [1], [-1], [-1]])
    >>> explained(one, one), explained(one, np.array([[1.0], [-1], [1], [-1]]))
    (1.0, -0.5)
    """
    n = len(columns)
    basis, sizes, _ = np.linalg.svd(by, full_matrices=False)
    basis = basis[:, sizes > 1e-9 * max(1.0, float(sizes.max(initial=0)))]
    freedom = n - 1 - basis.shape[1]
    if freedom < 1:
        return 1.0
    left = float(np.square(columns - basis @ (basis.T @ columns)).sum() / np.square(columns).sum())
    return float(1 - left * (n - 1) / freedom)


def _standardised(parts: Sequence[Floats], models: int) -> Floats:
    """Return (M, C) columns with mean 0 and variance 1, without those that are constant."""
    if not parts or not models:
        return np.zeros((models, 0))
    columns = np.column_stack(parts)
    columns = columns - columns.mean(axis=0)
    spread = columns.std(axis=0)
    return np.asarray(columns[:, spread > 1e-9] / spread[spread > 1e-9])
