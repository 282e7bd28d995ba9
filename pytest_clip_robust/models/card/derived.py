"""Cards of models that are made from other models: with an adapter, or by interpolation of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytest_clip_robust.models.card.facts import FACTS, ModelCard, overridden


def adapted(base: ModelCard, *, adapter: str, trained_on: str | None = None) -> ModelCard:
    """Return the card of `base` with an adapter.

    Args:
        base: the card of the model below the adapter.
        adapter: its kind and size, such as ``"LoRA r=8"``.
        trained_on: the data of the adapter, if known.

    >>> adapted(ModelCard(family="ViT", fine_tuning="zero-shot"), adapter="LoRA r=8").fine_tuning_details
    'LoRA r=8'
    """
    card = _without(base, "fine_tuned_on", "fine_tuning_details")
    facts = {"fine_tuning": "adapter", "fine_tuning_details": _after(base, adapter), "fine_tuned_on": trained_on}
    return overridden(card, facts, "spec")


def interpolated(first: ModelCard, second: ModelCard, *, alpha: float) -> ModelCard:
    """Return the card of the model with parameters ``(1 - alpha) * first + alpha * second``.

    Facts that both share stay, as do those that only one of them states. Facts that differ become unknown, and each
    has a remark. A model and its fine-tune have the same pre-training, so that its data and samples stay.

    >>> base = ModelCard(data="LAION-2B", fine_tuning="zero-shot")
    >>> tuned = ModelCard(data="LAION-2B", fine_tuning="cross-entropy", fine_tuned_on="ImageNet-1k")
    >>> card = interpolated(base, tuned, alpha=0.5)
    >>> card.data, card.fine_tuning, card.fine_tuning_details, card.fine_tuned_on
    ('LAION-2B', 'interpolation', 'alpha=0.5', 'ImageNet-1k')
    """
    own = {"fine_tuning", "fine_tuned_on", "fine_tuning_details"}
    differ = [
        name
        for name in FACTS
        if name not in own
        and getattr(first, name) != getattr(second, name)
        and None not in {getattr(first, name), getattr(second, name)}
    ]
    both = second.facts | first.facts
    kept: Mapping[str, Any] = {name: value for name, value in both.items() if name not in own | set(differ)}
    remarks = tuple(
        f"{name}: {getattr(first, name)} and {getattr(second, name)} were interpolated; it is not stated"
        for name in differ
    )
    data = ", ".join(dict.fromkeys(one.fine_tuned_on for one in (first, second) if one.fine_tuned_on)) or None
    sources = {**second.sources, **first.sources}
    card = ModelCard(
        **kept,
        sources={name: sources[name] for name in kept if name in sources},
        remarks=tuple(dict.fromkeys((*first.remarks, *second.remarks, *remarks))),
    )
    facts = {"fine_tuning": "interpolation", "fine_tuning_details": f"alpha={alpha:g}", "fine_tuned_on": data}
    return overridden(card, facts, "spec")


def _after(base: ModelCard, adapter: str) -> str:
    """Return the adapter, with how its base was fine-tuned before."""
    before = base.fine_tuning
    return adapter if before in {None, "zero-shot"} else f"{adapter} after {before}"


def _without(card: ModelCard, *names: str) -> ModelCard:
    facts = {name: value for name, value in card.facts.items() if name not in names}
    sources = {name: source for name, source in card.sources.items() if name in facts}
    return ModelCard(**facts, sources=sources, remarks=card.remarks)
