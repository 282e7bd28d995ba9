"""Tables of the page: shares of factors and residuals as shaded cells, and all models with factors and values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pytest_clip_robust.core.study_results import FactorResidual, FactorShare, Share
from pytest_clip_robust.report.html.study.headlines import HEADLINES, Headline, Value
from pytest_clip_robust.report.html.study.models import UNKNOWN, PanelModel, large
from pytest_clip_robust.report.numbers import MINUS, number, span

FULL = 10.0
"""Points of residual at which a cell has its full shade."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell: text, smaller lines below it, all of it at length, and its shade from -1 to 1. sure: not by chance alone.

    key: what the column is sorted by, or None.
    """

    text: str = ""
    below: tuple[str, ...] = ()
    title: str = ""
    shade: float = 0.0
    sure: bool = False
    key: float | str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of a table: its name, a remark, and its cells. model: of which it is, if it is of one."""

    name: str
    remark: str = ""
    cells: list[Cell]
    model: PanelModel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table: names of its columns, each with a longer description, and its lines. left_out: lines not shown."""

    columns: list[tuple[str, str]]
    lines: list[Line]
    left_out: int = 0


def share_grid(shares: Sequence[FactorShare]) -> Grid | None:
    """Return the share that each factor explains of each headline property, or None without shares."""
    titles = {headline.metric: headline.title for headline in HEADLINES}
    by_property: dict[tuple[str, str], dict[str, FactorShare]] = {}
    for one in shares:
        by_property.setdefault((one.metric, one.dataset), {})[one.factor] = one
    if not by_property:
        return None
    factors = list(dict.fromkeys(one.factor for one in shares))
    shown = [key for key in by_property if key[0] in titles]
    order = list(titles)
    shown.sort(key=lambda key: (order.index(key[0]), key[1]))
    lines = []
    for key in shown or list(by_property)[:60]:
        row = by_property[key]
        first = next(iter(row.values()))
        lines.append(
            Line(
                name=f"{titles.get(key[0], key[0])}, {key[1]}",
                remark=f"{first.models} models, {first.families} families",
                cells=[_share_cell(row.get(factor)) for factor in factors],
            )
        )
    warnings = {one.factor: one.warning for one in shares if one.warning}
    return Grid(
        columns=[(factor, warnings.get(factor, "")) for factor in factors],
        lines=lines,
        left_out=len(by_property) - len(lines),
    )


def residual_grid(residuals: Iterable[FactorResidual], models: Mapping[str, PanelModel]) -> Grid | None:
    """Return the residual of every model for every visual factor, reference models last; None without residuals."""
    by_model: dict[str, dict[str, FactorResidual]] = {}
    factors: dict[str, None] = {}
    for one in residuals:
        by_model.setdefault(one.model, {})[one.factor] = one
        factors[one.factor] = None
    ordered = sorted(
        (models[label] for label in by_model if label in models), key=lambda model: (model.reference, model.place)
    )
    lines = [
        Line(
            name=model.label,
            remark="reference" if model.reference else "",
            cells=[_residual_cell(by_model[model.label].get(factor)) for factor in factors],
            model=model,
        )
        for model in ordered
    ]
    return Grid(columns=[(factor.replace("_", " "), "") for factor in factors], lines=lines) if lines else None


MODEL_COLUMNS = (
    ("architecture", "architecture of the image tower"),
    ("parameters", "number of parameters"),
    ("training data", "pre-training data, number of different image-text pairs, and of pairs drawn in pre-training"),
    ("fine-tuning", "training after the pre-training"),
    ("loss", "loss of the pre-training"),
    ("prompts", "prompt set of the run"),
)


def model_grid(models: Mapping[str, PanelModel], values: Mapping[Headline, Mapping[str, Value]]) -> Grid:
    """Return all models with their six factors and their mean of every headline property over its data sets."""
    lines = [
        Line(
            name=model.label,
            remark="reference" if model.reference else "",
            cells=[*_factor_cells(model), *(_value_cell(of_model.get(label)) for of_model in values.values())],
            model=model,
        )
        for label, model in models.items()
    ]
    columns = [*MODEL_COLUMNS, *((headline.title, headline.metric) for headline in values)]
    return Grid(columns=list(columns), lines=lines)


def _share_cell(one: FactorShare | None) -> Cell:
    if one is None or one.alone is None:
        return Cell(text="not known", title=one.warning if one else "")
    interval = f"{_short(one.alone.low)} to {_short(one.alone.high)}"
    title = f"alone {_words(one.alone)}" if one.unique is not None else f"all factors {_words(one.alone)}"
    title += "" if one.unique is None else f"; only this factor {_words(one.unique)}"
    title += f"; {one.warning}" if one.warning else ""
    return Cell(
        text=_short(one.alone.value),
        below=(interval,) if one.unique is None else (interval, f"only it {_short(one.unique.value, sign=True)}"),
        title=title,
        shade=min(max(one.alone.value, 0.0), 1.0),
        sure=one.alone.low > 0,
    )


def _short(value: float, *, decimals: int = 2, sign: bool = False) -> str:
    """Return a value with few decimals; what is rounded to zero has no sign.

    >>> _short(0.756), _short(0.756, sign=True), _short(-0.001, sign=True)
    ('0.76', '+0.76', '0.00')
    """
    rounded = round(value, decimals)
    return f"{rounded or 0:{'+' if sign and rounded else ''}.{decimals}f}".replace("-", MINUS)


def _words(share: Share) -> str:
    return f"{number(share.value)} ({span(share.low, share.high)})"


def _residual_cell(one: FactorResidual | None) -> Cell:
    if one is None:
        return Cell()
    half = (one.high - one.low) / 2
    return Cell(
        text=_short(one.residual, decimals=1, sign=True),
        below=(f"\N{PLUS-MINUS SIGN} {half:.1f}",),
        title=f"accuracy {number(one.accuracy)}, line {number(one.expected)}, {one.n:,} images",
        shade=min(max(one.residual / FULL, -1.0), 1.0),
        sure=one.low > 0 or one.high < 0,
    )


def _factor_cells(model: PanelModel) -> list[Cell]:
    one = model.factors
    architecture, data, tuning, loss = (
        Cell(text=value or UNKNOWN, key=value)
        for value in (one.architecture or one.family, one.training_data, one.fine_tuning, one.loss)
    )
    sizes = ((one.training_pairs, "pairs"), (one.samples_seen, "seen"))
    words = ", ".join(f"{large(value)} {noun}" for value, noun in sizes if value is not None)
    data = replace(data, below=(words,) if words else ())
    parameters = Cell(text=model.size or UNKNOWN, key=one.parameters)
    prompts = Cell(text=one.prompts or "none", key=one.prompts)
    return [architecture, parameters, data, tuning, loss, prompts]


def _value_cell(value: Value | None) -> Cell:
    if value is None:
        return Cell()
    return Cell(text=number(value.value), below=(span(*value.span),) if value.span else (), key=value.value)
