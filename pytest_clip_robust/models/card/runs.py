"""Facts about a checkpoint in ``RUN/checkpoints/`` from the options of its run, see `open_clip.training`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_clip_robust.models.card.facts import Claim
from pytest_clip_robust.models.card.tags import started_from
from pytest_clip_robust.models.card.training_data import data_named
from pytest_clip_robust.system.text import printable

EPOCH = re.compile(r"epoch_(\d+)\.pt")
"""The name that open_clip gives the checkpoint after so many epochs."""
NOTHING = {"", "None"}


def run_claims(options: Mapping[str, str], checkpoint: str) -> list[Claim]:
    """Return the claims of a training run.

    A run that started from nothing pre-trained the model: its data are the card's data, and it has seen as many
    samples as its epochs and ``--train-num-samples`` say. A run that started from a tag fine-tuned that model with the
    contrastive loss: data, pairs and samples are those of the tag.

    Args:
        options: the options in ``params.txt``, as text.
        checkpoint: the name of the file, which has the number of epochs: ``epoch_3.pt``.

    >>> claims = run_claims({"model": "ViT-B-32", "train_data": "/data/cc12m/{0..9}.tar", "train_num_samples": "1000",
    ...     "pretrained": ""}, "epoch_3.pt")
    >>> claims[0].facts["data"], claims[0].facts["samples_seen"], claims[0].facts["fine_tuning"]
    ('CC12M', 3000, 'zero-shot')
    """
    start = options.get("pretrained", "")
    epochs, per_epoch = _epochs(checkpoint), _whole(options.get("train_num_samples", ""))
    data = options.get("train_data", "")
    known = data_named(data)
    name = known.name if known else _short_name(data)
    if options.get("dataset_type") == "synthetic":
        name = "synthetic"
    remarks = tuple(
        f"the {tower} tower was locked in training (--lock-{tower})"
        for tower in ("image", "text")
        if options.get(f"lock_{tower}") == "True"
    )
    facts: dict[str, Any] = {"loss": _loss(options)}
    if start in NOTHING:
        # With resampling, an epoch draws with repetitions, so that its number says nothing about different pairs.
        different = None if options.get("dataset_resampled") == "True" else per_epoch
        seen = epochs * per_epoch if epochs and per_epoch else None
        facts |= {"data": name, "pairs": different, "samples_seen": seen, "fine_tuning": "zero-shot"}
        return [Claim(source="training run", facts=facts, remarks=remarks)]
    details = f"{epochs} epoch{'' if epochs == 1 else 's'} from {printable(start)}" if epochs else f"from {start}"
    facts |= {"fine_tuning": "contrastive", "fine_tuned_on": name, "fine_tuning_details": printable(details)}
    before = started_from(options.get("model", "").replace("/", "-"), start, source="training run")
    return [Claim(source="training run", facts=facts, remarks=remarks), *before]


def _loss(options: Mapping[str, str]) -> str | None:
    if options.get("siglip") == "True":
        return "sigmoid"
    if options.get("model", "").startswith("coca"):
        return "softmax and captioning"
    return "softmax" if options.get("model") else None


def _epochs(checkpoint: str) -> int | None:
    found = EPOCH.fullmatch(checkpoint)
    return int(found[1]) if found else None


def _whole(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[1-9]\d{0,17}", text) else None


def _short_name(path: str) -> str | None:
    """Return the last folder or file in the path of training data that is not a pattern of shards."""
    parts = [part for part in re.split(r"[/\\]|::", path) if part and not re.search(r"[{}*]", part)]
    return printable(parts[-1]) if parts and path not in NOTHING else None
