"""The models of a panel as the page shows them: in families, with a number, a mark and their six factors in words."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pytest_clip_robust.core.panel_table import ModelFactors

UNKNOWN = "unknown"

COLOURS = {
    "zero-shot": "c1",
    "supervised": "c2",
    "cross-entropy": "c3",
    "classifier head": "c4",
    "contrastive": "c5",
    "interpolation": "c6",
    "adapter": "c7",
    "captioning": "c8",
}
"""The class of the style sheet that colours a mark, by fine-tuning; others are grey."""
OTHER_COLOUR = "c0"

SHAPES = ("circle", "square", "triangle", "diamond", "bar", "wedge")
"""The shapes of marks, for the families of image towers that most models have; others are crosses."""
OTHER_SHAPE = "cross"


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelModel:
    """A model of the page. place: its number, from 1. depth: 0 for the first of a family, 1 for what descends from it.

    colour: class of the style sheet, by fine-tuning. shape: of its mark, by the family of its image tower. reference:
    whether lines are fitted to it.
    """

    place: int
    depth: int
    factors: ModelFactors
    colour: str
    shape: str
    reference: bool

    @property
    def label(self) -> str:
        """The name of the model."""
        return self.factors.model

    @property
    def size(self) -> str:
        """The number of parameters, such as ``"151M"``."""
        return large(self.factors.parameters)

    @property
    def about(self) -> str:
        """The number, the name and the six factors in one line."""
        one = self.factors
        seen = f", {large(one.samples_seen)} seen" if one.samples_seen else ""
        return (
            f"{self.place}. {one.model}: {one.architecture or one.family or 'unknown architecture'}"
            f"{f', {self.size} parameters' if self.size else ''}; data {one.training_data or UNKNOWN}; pairs "
            f"{large(one.training_pairs) or UNKNOWN}{seen}; {one.fine_tuning or 'unknown fine-tuning'}; loss "
            f"{one.loss or UNKNOWN}; prompts {one.prompts or 'none'}"
        )


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """A line of a legend: the class or shape of marks, and its meaning."""

    kind: str
    text: str


def panel_models(models: Mapping[str, ModelFactors], references: Collection[str] = ()) -> dict[str, PanelModel]:
    """Return the models by label, family after family, each below the model that it was made from.

    references: labels of the models that lines are fitted to, in addition to those that the panel file marks.
    """
    shapes = shapes_of(models)
    return {
        label: PanelModel(
            place=place,
            depth=depth,
            factors=models[label],
            colour=COLOURS.get(models[label].fine_tuning or "", OTHER_COLOUR),
            shape=shapes.get(models[label].family or UNKNOWN, OTHER_SHAPE),
            reference=models[label].reference or label in references,
        )
        for place, (label, depth) in enumerate(_in_families(models), 1)
    }


def shapes_of(models: Mapping[str, ModelFactors]) -> dict[str, str]:
    """Return the shape of each of the most frequent families of image towers.

    >>> one = ModelFactors(model="a", group="a", family="ViT")
    >>> shapes_of({"a": one})
    {'ViT': 'circle'}
    """
    counts = Counter(one.family or UNKNOWN for one in models.values())
    ordered = sorted(counts, key=lambda family: (-counts[family], family))
    return dict(zip(ordered, SHAPES, strict=False))


def legend_of(models: Mapping[str, PanelModel]) -> tuple[list[LegendEntry], list[LegendEntry]]:
    """Return the legends of colours and of shapes, with what occurs in the panel only."""
    factors = [one.factors for one in models.values()]
    present = {one.fine_tuning or UNKNOWN for one in factors}
    colours = [LegendEntry(kind, name) for name, kind in COLOURS.items() if name in present]
    rest = sorted(present - set(COLOURS))
    colours += [LegendEntry(OTHER_COLOUR, ", ".join(rest))] if rest else []
    named = shapes_of({one.model: one for one in factors})
    shapes = [LegendEntry(shape, family) for family, shape in named.items()]
    others = {one.family or UNKNOWN for one in factors} - set(named)
    shapes += [LegendEntry(OTHER_SHAPE, "other families")] if others else []
    return colours, shapes


def large(number: float | None) -> str:
    """Return a large number with three digits, or ``""`` if it is unknown.

    >>> large(151_277_313), large(34e9), large(11080), large(500), large(None)
    ('151M', '34B', '11.1k', '500', '')
    """
    if number is None:
        return ""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{float(f'{number / size:.3g}'):g}{unit}"
    return f"{number:g}"


def _in_families(models: Mapping[str, ModelFactors]) -> list[tuple[str, int]]:
    """Return labels with their depths, sorted by family."""
    below: dict[str, list[str]] = defaultdict(list)
    for label, one in sorted(models.items(), key=lambda item: (item[1].group, item[0])):
        head = one.parent or (one.group if one.group != label else "")
        below[head if head in models and head != label else ""].append(label)
    found: dict[str, int] = {}
    waiting = [(label, 0) for label in reversed(below[""])]
    while waiting:
        label, depth = waiting.pop()
        found[label] = depth
        waiting += [(child, depth + 1) for child in reversed(below[label])]
    # Tables made by hand can have models that are their own ancestors.
    return [*found.items(), *((label, 0) for label in sorted(models) if label not in found)]
