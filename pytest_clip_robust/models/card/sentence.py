"""A card as one short line."""

from __future__ import annotations

from pytest_clip_robust.models.card.facts import ModelCard

SCALES = ((1e9, "B"), (1e6, "M"), (1e3, "k"))


def short(number: float) -> str:
    """Return a number in three digits at most.

    >>> short(151_277_313), short(2.32e9), short(34e9), short(999_900), short(950)
    ('151 M', '2.32 B', '34 B', '1 M', '950')
    """
    for scale, letter in SCALES:
        digits = f"{number / scale:.3g}"
        if float(digits) >= 1:
            return f"{digits} {letter}" if float(digits) < 1000 else f"{round(number / scale):,} {letter}"
    return f"{number:.3g}"


def sentence(card: ModelCard) -> str:
    """Return the factors of `card` in one line: architecture; data and samples; loss; fine-tuning.

    >>> sentence(ModelCard(family="ViT", size="B/32", parameters=151277313, resolution=224, data="LAION-2B",
    ...     pairs=2.32e9, samples_seen=34e9, loss="softmax", fine_tuning="zero-shot"))
    'ViT-B/32, 151 M parameters, 224 px; LAION-2B (2.32 B pairs), 34 B seen; softmax; zero-shot'
    >>> sentence(ModelCard(family="ViT", size="B/32"))
    'ViT-B/32; unknown: parameters, resolution, training data, samples seen, loss, fine-tuning'
    """
    unknown = [
        word
        for word, value in (
            ("architecture", card.family),
            ("parameters", card.parameters or card.image_parameters),
            ("resolution", card.resolution),
            ("training data", card.data),
            ("samples seen", card.samples_seen),
            ("loss", card.loss),
            ("fine-tuning", card.fine_tuning),
        )
        if value is None
    ]
    parts = [_architecture(card), _data(card), card.loss or "", fine_tuning(card)]
    if unknown:
        parts.append(f"unknown: {', '.join(unknown)}")
    return "; ".join(part for part in parts if part)


def fine_tuning(card: ModelCard) -> str:
    """Return how a model was trained after its pre-training, or ``""`` if that is not known.

    >>> fine_tuning(ModelCard(fine_tuning="adapter", fine_tuning_details="LoRA r=8", fine_tuned_on="MS-COCO"))
    'adapter (LoRA r=8) on MS-COCO'
    """
    how = card.fine_tuning
    if how is None:
        return ""
    if how == "unknown method":
        how_in_words = "fine-tuned by an unknown method"
    else:
        how_in_words = how if how in {"zero-shot", "supervised"} else f"fine-tuned: {how}"
    if how in {"adapter", "interpolation"}:
        how_in_words = how
    details = f" ({card.fine_tuning_details})" if card.fine_tuning_details else ""
    return f"{how_in_words}{details}{f' on {card.fine_tuned_on}' if card.fine_tuned_on else ''}"


def architecture(card: ModelCard) -> str:
    """Return family and size of the image tower, or ``""``.

    >>> architecture(ModelCard(family="ViT", size="B/32")), architecture(ModelCard(family="ConvNeXt", size="base"))
    ('ViT-B/32', 'ConvNeXt base')
    """
    joint = "-" if card.size and card.size[0].isalpha() and card.family in {"ViT", "EVA", "ViTamin"} else " "
    return f"{card.family}{joint}{card.size}" if card.family and card.size else card.family or ""


def _architecture(card: ModelCard) -> str:
    parts = [architecture(card)]
    if card.parameters:
        parts.append(f"{short(card.parameters)} parameters")
    elif card.image_parameters:
        parts.append(f"{short(card.image_parameters)} parameters in the image tower")
    if card.resolution:
        parts.append(f"{card.resolution} px")
    return ", ".join(part for part in parts if part)


def _data(card: ModelCard) -> str:
    what = "images" if card.loss == "cross-entropy" else "pairs"
    data = f"{card.data or ''}{f' ({short(card.pairs)} {what})' if card.pairs and card.data else ''}"
    seen = f"{short(card.samples_seen)} seen" if card.samples_seen else ""
    return ", ".join(part for part in (data, seen) if part)
