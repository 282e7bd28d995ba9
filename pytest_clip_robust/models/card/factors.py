"""The six factors of the study, read from a model's card."""

from __future__ import annotations

from pytest_clip_robust.core.panel_table import ModelFactors
from pytest_clip_robust.models.card.facts import ModelCard
from pytest_clip_robust.models.card.sentence import architecture


def factors_from(
    card: ModelCard, *, model: str, group: str = "", parent: str = "", reference: bool = False, prompts: str | None
) -> ModelFactors:
    """Return the factors that `card` states; for the other arguments see `ModelFactors`.

    >>> card = ModelCard(family="ViT", size="B/32", data="LAION-2B", samples_seen=34e9, fine_tuning="zero-shot")
    >>> found = factors_from(card, model="a", prompts="openai-80")
    >>> found.architecture, found.training_data, found.samples_seen, found.fine_tuning, found.loss, found.group
    ('ViT-B/32', 'LAION-2B', 34000000000.0, 'zero-shot', None, 'a')
    """
    return ModelFactors(
        model=model,
        group=group or model,
        parent=parent,
        reference=reference,
        family=card.family,
        architecture=architecture(card) or None,
        parameters=card.parameters or card.image_parameters,
        training_data=card.data,
        training_pairs=card.pairs,
        samples_seen=card.samples_seen,
        fine_tuning=card.fine_tuning,
        loss=card.loss,
        prompts=prompts,
    )
