"""Factor analysis of a panel: the share of each property's variation over models that the six factors explain.

A ridge regression of a property's values on the factors predicts families of models that it has not seen. Its R² on
those is the share that the factors explain; without one factor it is smaller by what only that factor explains.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.core.panel_table import ModelFactors, PanelTable
from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.factor_design import SIX, Design, confounding, design_of
from pytest_clip_robust.properties.findings.selection import value_of
from pytest_clip_robust.stats.intervals import LEVEL

FEWEST_FAMILIES = 5
FOLDS = 10
REPLICATES = 100
SEED = 0
PENALTIES = (0.1, 1.0, 10.0, 100.0)

ALL = "all"


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


def analyse_factors(table: PanelTable) -> list[FactorShare]:
    """Return the share of every factor for every property, by metric, data set, and factor in the study's order.

    Properties are the measurements of whole data sets (without a subset) whose values differ over models. R² is
    cross-validated over families (at most 10 folds). Ridge penalties are chosen once per property, from 0.1 to 100 on
    standardised columns, by leaving out one model. Intervals resample families 100 times (Efron 1979).

    Raises:
        MeasurementError: no property was measured on models of `FEWEST_FAMILIES` families or more.
    """
    found = [share for labels, keys in _blocks(table) for share in _analyse(table, labels, keys)]
    if not found:
        raise MeasurementError(
            f"needs a property whose values differ over models of {FEWEST_FAMILIES} or more families, and has none"
        )
    order = [ALL, *SIX]
    return sorted(found, key=lambda one: (one.metric, one.dataset, order.index(one.factor)))


def factor_warnings(models: Mapping[str, ModelFactors]) -> dict[str, str]:
    """Return why the shares of a factor mean little on these models, by factor; empty if nothing stands in the way."""
    return confounding(design_of(list(models.values())))


def _blocks(table: PanelTable) -> Iterator[tuple[tuple[str, ...], list[tuple[str, str]]]]:
    """Yield the models that have the same properties with those, as (metric, data set) pairs."""
    by_models: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for metric in table.metrics():
        for where, rows in table.rows_of(metric).items():
            if len({table.models[label].group for label in rows}) >= FEWEST_FAMILIES:
                by_models.setdefault(tuple(rows), []).append((metric, where.removesuffix("/")))
    yield from sorted(by_models.items())


def _analyse(table: PanelTable, labels: Sequence[str], keys: Sequence[tuple[str, str]]) -> Iterator[FactorShare]:
    columns = [table.rows_of(metric)[f"{where}/"] for metric, where in keys]
    values = np.array([[value_of(rows[label]) for rows in columns] for label in labels])
    spread = values.std(axis=0)
    kept = np.flatnonzero(spread > 1e-12 * np.maximum(1, np.abs(values).max(axis=0)))
    if not len(kept):
        return
    models = [table.models[label] for label in labels]
    design = design_of(models)
    warnings = confounding(design)
    target = (values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept]
    families, place = np.unique([model.group for model in models], return_inverse=True)
    varying = [factor for factor in SIX if design.columns[factor].shape[1]]
    subsets = {ALL: varying} | {f"+{one}": [one] for one in varying}
    subsets |= {f"-{one}": [other for other in varying if other != one] for one in varying}
    explained = {name: _explained(design, subset, target, place) for name, subset in subsets.items()}
    for i, column in enumerate(kept.tolist()):
        metric, where = keys[column]
        for factor in (ALL, *SIX):
            alone, unique = None, None
            if factor == ALL:
                alone = _share(explained[ALL][:, i])
            elif factor in varying:
                alone = _share(explained[f"+{factor}"][:, i])
                unique = _share(explained[ALL][:, i] - explained[f"-{factor}"][:, i])
            yield FactorShare(
                metric=metric,
                dataset=where,
                factor=factor,
                alone=alone,
                unique=unique,
                models=len(labels),
                families=len(families),
                warning=warnings.get(factor, ""),
            )


def _explained(design: Design, factors: Sequence[str], target: Floats, family: NDArray[np.intp]) -> Floats:
    """Return (1 + B, T) cross-validated R² of (M, T) targets: with all families once, then of B resampled panels."""
    from sklearn.linear_model import RidgeCV  # noqa: PLC0415 - a second of imports
    from sklearn.model_selection import GroupKFold  # noqa: PLC0415

    n = int(family.max()) + 1
    drawn = np.random.default_rng(SEED).multinomial(n, np.full(n, 1 / n), size=REPLICATES)
    weights = np.vstack([np.ones(n), drawn])[:, family].astype(np.float64)
    columns = np.hstack([design.columns[one] for one in factors]) if factors else np.zeros((len(target), 0))
    if not columns.shape[1]:
        return np.zeros((len(weights), target.shape[1]))
    penalty = np.atleast_1d(RidgeCV(PENALTIES, alpha_per_target=True).fit(columns, target).alpha_)
    folds = list(GroupKFold(min(FOLDS, n)).split(columns, groups=family))
    found = np.full((len(weights), target.shape[1]), np.nan)
    for b, weight in enumerate(weights):
        missed, spread = np.zeros(target.shape[1]), np.zeros(target.shape[1])
        for train, test in folds:
            if not weight[test].any():
                continue
            if not weight[train].any():  # all draws are in one fold
                missed[:] = np.nan
                break
            guess, mean = ridge(columns[train], target[train], weight[train], penalty, at=columns[test])
            missed += weight[test] @ (target[test] - guess) ** 2
            spread += weight[test] @ (target[test] - mean) ** 2
        found[b] = 1 - np.divide(missed, spread, out=np.full_like(missed, np.nan), where=spread > 0)
    return found


def ridge(columns: Floats, target: Floats, weight: Floats, penalty: Floats, *, at: Floats) -> tuple[Floats, Floats]:
    """Return (N, T) predictions of a weighted ridge regression with an intercept, and the (T,) weighted means.

    It is that of scikit-learn's `Ridge`, which takes ten times as long for many small fits with several penalties.

    Args:
        columns: (M, C) columns of M samples.
        target: (M, T) values to predict.
        weight: (M,) weights of the samples, not all 0.
        penalty: (T,) penalties, or (1,) for all targets.
        at: (N, C) columns to predict at.
    """
    centre, mean = (np.average(one, axis=0, weights=weight) for one in (columns, target))
    apart = columns - centre
    sizes, axes = np.linalg.eigh(apart.T @ (weight[:, None] * apart))
    along = axes.T @ (apart.T @ (weight[:, None] * (target - mean)))
    slopes = axes @ (along / (np.maximum(sizes, 0)[:, None] + penalty))
    guess: Floats = mean + (at - centre) @ slopes
    return guess, mean


def _share(values: Floats) -> Share:
    """Return the first of (1 + B,) values, with the central 95 % of the others."""
    defined = values[1:][np.isfinite(values[1:])]
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) if len(defined) else (values[0], values[0])
    return Share(value=float(values[0]), low=float(low), high=float(high))
