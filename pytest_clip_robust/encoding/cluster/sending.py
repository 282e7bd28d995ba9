"""Jobs as they are sent to other machines, without the weights; the model that is loaded there is compared."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pytest_clip_robust.encoding.engines.base import Job
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.card.facts import ModelCard
from pytest_clip_robust.models.protocols import LoadedModel

SHOWN_DIGITS = 12

REMEDIES = {
    "weights": "give every machine the same checkpoint",
    "preprocess": "install the same versions of its libraries on every machine",
    "text": "install the same tokenizer and the same versions of its libraries on every machine",
    "arithmetic": "choose a --clip-device that this machine and the cluster both have, or --clip-precision=fp32",
}
"""What a model is known by, and what to do if it differs between two machines."""


def without_weights(job: Job) -> Job:
    """Return a job whose model is only spec and digests."""
    return replace(job, model=replace(job.model, encoder=None, notes=(), card=ModelCard()))


def with_model(job: Job, model: LoadedModel) -> Job:
    """Return a job of `without_weights` with the model that was loaded for it."""
    return replace(job, model=model)


def check_identity(wanted: LoadedModel, loaded: LoadedModel, *, where: str) -> None:
    """Compare the model that was loaded on the machine `where` with the one that the job names.

    Raises:
        ModelError: a digest differs, so that its features would be stored as those of another model.
    """
    for part, remedy in REMEDIES.items():
        there, here = getattr(loaded, part), getattr(wanted, part)
        if there != here:
            raise ModelError(
                f"model {wanted.spec.label}: its {part} on {where} is {_short(there)}, and here {_short(here)}; "
                f"{remedy}"
            )


def _short(value: Any) -> str:
    return f"{value[:SHOWN_DIGITS]}..." if len(value) > 2 * SHOWN_DIGITS else value
