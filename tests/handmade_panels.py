"""Tables of panels made by hand: models with chosen factors, and rows with chosen values."""

from __future__ import annotations

from pytest_clip_robust.core.panel_table import ModelFactors, PanelRow, PanelTable

Z = 1.959963984540054


def model(label, *, group="", **factors):
    """Return a zero-shot ViT of its own family, unless told otherwise."""
    given = {"family": "ViT", "training_data": "LAION-2B", "loss": "softmax", "fine_tuning": "zero-shot"} | factors
    return ModelFactors(model=label, group=group or label, **given)


def row(factors, key, value, *, error=0.01, n=100, outcomes="", data="d1"):
    """Return a row of ``metric[dataset/subset]`` whose interval has this standard error."""
    metric, _, where = key.removesuffix("]").partition("[")
    dataset, _, subset = where.partition("/")
    return PanelRow(
        factors=factors,
        test=f"test_{key}[{factors.model}]",
        metric=metric,
        dataset=dataset,
        subset=subset,
        value=value,
        low=value - Z * error,
        high=value + Z * error,
        level=0.95,
        n=n,
        direction="higher",
        tolerance=0.01,
        verdict="passed",
        data=data,
        outcomes=outcomes,
    )


def table(values, *, error=0.01, n=100_000):
    """Return a table of ``{model: {key: value}}``; a model is `ModelFactors`, and all rows have one standard error."""
    pairs = [(one, *pair) for one, measured in values.items() for pair in measured.items()]
    return PanelTable(rows=tuple(row(one, key, value, error=error, n=n) for one, key, value in pairs))
