"""A card as one short line."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from pytest_clip_robust.models.card.facts import ModelCard

SEPARATOR, INDENT = "; ", "  "
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
    return SEPARATOR.join(part for part in parts if part)


def card_lines(models: Mapping[str, Mapping[str, Any]], *, width: int = 0) -> list[str]:
    """Return the cards of a run's models as lines for a terminal, with what their sources contradict.

    Args:
        models: label -> what the report says of a model, with its card as plain data under ``card``.
        width: of the terminal, in columns; 0 does not break lines.

    >>> card = ModelCard(family="ViT", size="B/32", parameters=151277313, resolution=224, data="mine",
    ...     samples_seen=3e9, loss="softmax", fine_tuning="zero-shot")
    >>> for line in card_lines({"a": {"card": card.plain()}}, width=60):
    ...     print(line)
    model a: ViT-B/32, 151 M parameters, 224 px; mine, 3 B seen;
      softmax; zero-shot
    """
    lines = []
    for label, about in models.items():
        if plain := about.get("card"):
            card = ModelCard(**plain)
            lines.append(f"model {label}: {sentence(card)}{computed(about)}")
            lines += [f"{label}: {remark}" for remark in card.contradictions]
    if not width:
        return lines
    return [part for line in lines for part in _broken(line, width)]


def computed(about: Mapping[str, Any]) -> str:
    """Return how a model is run, as the last part of its line; ``""`` if it is not run.

    >>> computed({"precision": "bf16", "device": "cuda:0", "compiled": True}), computed({"device": "none"})
    ('; bf16 on cuda:0, compiled', '')
    """
    if about.get("device", "none") == "none":
        return ""
    return f"{SEPARATOR}{about['precision']} on {about['device']}{', compiled' if about.get('compiled') else ''}"


def _broken(line: str, width: int) -> list[str]:
    """Break a line after factors, and a factor that is longer than `width` between its words."""
    first, *factors = line.split(SEPARATOR)
    parts = [first]
    for factor in factors:
        longer = f"{parts[-1]}{SEPARATOR}{factor}"
        if len(longer) < width:  # a separator may follow
            parts[-1] = longer
        else:
            parts.append(f"{INDENT}{factor}")
    whole = [f"{part}{SEPARATOR.strip()}" for part in parts[:-1]] + parts[-1:]
    return [piece for part in whole for piece in _wrapped(part, width)]


def _wrapped(part: str, width: int) -> list[str]:
    """Break one part between its words; a spec such as ViT-B-32@laion2b_s34b_b79k is broken nowhere."""
    text = part.removeprefix(INDENT)
    return textwrap.wrap(
        text,
        width,
        initial_indent=INDENT if text != part else "",
        subsequent_indent=INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


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
