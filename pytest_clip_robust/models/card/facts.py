"""The card of a model and the claims that it is made of. Imports nothing heavy.

The factors are those of "Toward a Holistic Evaluation of Robustness in CLIP Models" (arXiv 2410.01534): architecture,
training data and their number, fine-tuning, contrastive loss, and prompts. A fact that no source states stays None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal, get_args

from pytest_clip_robust.core.plain import AtLeast

Source = Literal[
    "panel file", "stated", "weights", "training run", "config", "spec", "tag", "repository card", "published"
]
"""Where a fact was read, nearest to the weights first after what a person stated.

panel file: an override. stated: by the encoder's attribute `card`, or by this package for its own models.
weights: counted or measured on the built model. training run: the ``params.txt`` next to a checkpoint.
config: the model's config. spec: the spec itself, such as the name of a checkpoint or repository.
tag: a tag of open_clip or timm. repository card: the README.md of a folder or repository.
published: a paper or card on the data set or the tag; see `training_data` and `published`.
"""
SOURCES: tuple[Source, ...] = get_args(Source)

Loss = Literal["softmax", "sigmoid", "softmax and captioning", "sigmoid and captioning", "cross-entropy", "next token"]
"""The loss of the pre-training; cross-entropy is that of a classifier which was trained on labels only, and next token
that of a large multimodal model."""

FineTuning = Literal[
    "zero-shot",
    "supervised",
    "cross-entropy",
    "classifier head",
    "contrastive",
    "captioning",
    "adapter",
    "interpolation",
    "unknown method",
]
"""How a model was trained after its pre-training.

zero-shot: not at all. supervised: it is a classifier that was trained on labels only. cross-entropy: on class labels,
all parameters. classifier head: on class labels, only a head on frozen features. contrastive: with the loss of the
pre-training, on a smaller set (FLYP). captioning: to write captions. adapter: by small added parameters.
interpolation: of the parameters of two models (WiSE-FT).
"""

Positive = Annotated[int, AtLeast(1)]
Samples = Annotated[float, AtLeast(1)]

CONTRADICTS = " contradicts "

ROUNDING = 0.1
"""Two numbers agree within this relative difference: names of checkpoints round them, as ``s34b`` does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Facts about a model and its training; None is unknown.

    family, size: of the image tower, such as ``"ViT"`` and ``"B/32"``. patch: pixels. layers, width: of a transformer.
    text_tower: its pretrained language model, or ``"transformer"``. context: tokens. embedding: dimensions.
    image_parameters, text_parameters, parameters: of each tower, and of the whole model with its other parts.
    resolution: side of the image in pixels.
    data: the name of the pre-training data. pairs: number of different image-text pairs in it (images, for labels).
    samples_seen: number of pairs that pre-training drew, with repetitions.
    loss: of the pre-training. fine_tuning: how it was trained afterwards. fine_tuned_on: on which data.
    fine_tuning_details: such as ``"LoRA r=8"``.
    licence: as the repository states it.
    sources: where each known fact was read. remarks: one line each, such as contradictions between sources.
    """

    family: str | None = None
    size: str | None = None
    patch: Positive | None = None
    layers: Positive | None = None
    width: Positive | None = None
    text_tower: str | None = None
    context: Positive | None = None
    embedding: Positive | None = None
    image_parameters: Positive | None = None
    text_parameters: Positive | None = None
    parameters: Positive | None = None
    resolution: Positive | None = None
    data: str | None = None
    pairs: Samples | None = None
    samples_seen: Samples | None = None
    loss: Loss | None = None
    fine_tuning: FineTuning | None = None
    fine_tuned_on: str | None = None
    fine_tuning_details: str | None = None
    licence: str | None = None
    sources: Mapping[str, Source] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def facts(self) -> dict[str, Any]:
        """The facts that are known, by name."""
        return {name: getattr(self, name) for name in FACTS if getattr(self, name) is not None}

    @property
    def contradictions(self) -> tuple[str, ...]:
        """The remarks on facts that two sources state differently."""
        return tuple(remark for remark in self.remarks if CONTRADICTS in remark)

    def plain(self) -> dict[str, Any]:
        """Return the card as plain data, with unknown facts as None, for report.json."""
        return {**asdict(self), "sources": dict(self.sources), "remarks": list(self.remarks)}


FACTS = tuple(one.name for one in fields(ModelCard) if one.name not in {"sources", "remarks"})
"""The names of all facts of a card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Facts from one source, by their names in `ModelCard`; None states nothing."""

    source: Source
    facts: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def card_of(claims: Sequence[Claim]) -> ModelCard:
    """Return the card that `claims` make together.

    The source that is earliest in `SOURCES` wins, and of one source the first claim. Where another source contradicts
    it, the card has a remark.

    >>> card = card_of([Claim(source="tag", facts={"data": "LAION-2B"}), Claim(source="config", facts={"patch": 32})])
    >>> card.data, card.patch, card.sources["data"]
    ('LAION-2B', 32, 'tag')
    """
    ordered = sorted(claims, key=lambda claim: SOURCES.index(claim.source))
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    remarks = [remark for claim in ordered for remark in claim.remarks]
    for name in FACTS:
        stated = [(claim.facts[name], claim.source) for claim in ordered if claim.facts.get(name) is not None]
        if not stated:
            continue
        values[name], sources[name] = stated[0]
        for value, source in stated[1:]:
            # Published numbers describe the data set in general, so another number of one model is no contradiction.
            if source != "published" and not _agree(values[name], value):
                remarks.append(
                    f"{name}: {values[name]} ({sources[name]}){CONTRADICTS}{value} ({source}); took the first"
                )
    return ModelCard(**values, sources=sources, remarks=tuple(dict.fromkeys(remarks)))


def overridden(card: ModelCard, facts: Mapping[str, Any], source: Source = "panel file") -> ModelCard:
    """Return `card` with `facts` in place of its own; what they replace is no contradiction, and gets no remark."""
    known = {name: value for name, value in facts.items() if value is not None}
    values = card.facts | known
    sources = {**card.sources, **dict.fromkeys(known, source)}
    return ModelCard(**values, sources=sources, remarks=card.remarks)


def _agree(one: Any, other: Any) -> bool:
    if isinstance(one, int | float) and isinstance(other, int | float):
        return abs(one - other) <= ROUNDING * max(abs(one), abs(other))
    # A repository card lists all data sets of a model, also those of its fine-tuning.
    names = [set(str(value).casefold().split(", ")) for value in (one, other)]
    return bool(names[0] & names[1])
