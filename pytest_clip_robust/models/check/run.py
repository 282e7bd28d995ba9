"""All checks of one loaded model, in the order in which a report shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from pytest_clip_robust.core.checks import Check, Status, judged, not_applicable
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.check.activation import check_activation, reaches_images
from pytest_clip_robust.models.check.batch import embedded_batch
from pytest_clip_robust.models.check.encoding import Features, encode_batch, encode_repeats, pixels_of, text_features
from pytest_clip_robust.models.check.features import (
    check_batches,
    check_dead,
    check_dimensions,
    check_finite,
    check_precision,
    check_repeat,
    check_spread,
)
from pytest_clip_robust.models.check.inside import parameters_of
from pytest_clip_robust.models.check.matching import check_matching
from pytest_clip_robust.models.check.preprocessing import check_normalising, check_resizing, family_of, measure
from pytest_clip_robust.models.check.published import check_published
from pytest_clip_robust.models.check.questions import check_questions
from pytest_clip_robust.models.check.scale import check_scale
from pytest_clip_robust.models.check.texts import check_context, check_tokens
from pytest_clip_robust.models.check.weights import check_weights
from pytest_clip_robust.models.protocols import AnswersQuestions, EncodesImages, LoadedModel
from pytest_clip_robust.models.spec import ModelSpec

FIX = "correct the spec, or what it names"
"""The fix of an error that states no other."""


def batch_features(encoder: Any) -> Features:
    """Return the features of the embedded batch.

    Raises:
        ModelError: preprocessing or a tower fails.
    """
    images, texts = embedded_batch()
    return encode_batch(encoder, pixels_of(encoder, images), texts)


def check_loaded(
    loaded: LoadedModel,
    *,
    prompts: Sequence[str] = (),
    reference: Features | None = None,
    exact: Callable[[], Features] | None = None,
) -> list[Check]:
    """Return all checks of a loaded model.

    prompts: the longest texts of the run. reference: the batch's features of the reference model. exact: returns the
    batch's features at fp32, for a run at another precision.
    """
    encoder = loaded.encoder
    if isinstance(encoder, AnswersQuestions):
        numbers = loaded.card.parameters
        whole = judged(
            "parameters", f"all {numbers:,} loaded" if numbers else "loaded", expected="no missing, no unexpected"
        )
        return [whole, *check_questions(encoder, loaded.precision)]
    if not isinstance(encoder, EncodesImages):
        return [not_applicable("model", "it is known by its stored answers or features only")]
    parameters = parameters_of(encoder)
    return [
        _loaded_row(parameters),
        check_weights(parameters),
        *_preprocessing(loaded.spec, encoder),
        *_texts(encoder, prompts),
        _row("scale", lambda: check_scale(encoder)),
        *_features(loaded, parameters, reference, exact),
        _row("published", lambda: check_published(loaded.spec, encoder, loaded.precision)),
    ]


def _texts(encoder: Any, prompts: Sequence[str]) -> list[Check]:
    texts = embedded_batch().texts
    return [
        _row("tokens", lambda: check_tokens(encoder, texts)),
        _row("context", lambda: check_context(encoder, texts, prompts)),
    ]


def _features(
    loaded: LoadedModel,
    parameters: Mapping[str, torch.Tensor],
    reference: Features | None,
    exact: Callable[[], Features] | None,
) -> list[Check]:
    """Return the checks of the batch's features; those that need finite ones of equal dimensions end the list."""
    encoder, precision = loaded.encoder, loaded.precision
    images, texts = embedded_batch()
    try:
        pixels = pixels_of(encoder, images)
        features, repeats = encode_batch(encoder, pixels, texts), encode_repeats(encoder, pixels, texts)
    except ModelError as error:
        return [failed_row("features", error)]
    rows = [check_finite(parameters, features), check_dimensions(features)]
    if any(row.status == Status.FAILED for row in rows):
        return rows

    def again() -> Features:
        if reaches_images(encoder) or features.texts is None:
            return encode_batch(encoder, pixels, texts)
        return Features(features.images, text_features(encoder, texts))

    return [
        *rows,
        check_dead(features),
        check_spread(features),
        check_repeat(repeats),
        check_batches(features, repeats, precision),
        _row("precision", lambda: check_precision(features, exact() if exact else None, precision)),
        check_matching(features, loaded.scale),
        _row("activation", lambda: check_activation(loaded.spec, encoder, features, again, reference)),
    ]


def failed_row(name: str, error: Exception) -> Check:
    """Return a failed row from an error's line, whose last part says what to do.

    >>> failed_row("parameters", ModelError("model x: it lacks 3 parameters; name its architecture")).fix
    'name its architecture'
    """
    what, _, fix = str(error).rpartition("; ")
    return Check(name=name, status=Status.FAILED, measured=what or fix, fix=fix if what else FIX)


def _loaded_row(parameters: Mapping[str, torch.Tensor]) -> Check:
    if not parameters:
        return not_applicable("parameters", "the encoder holds no torch module")
    numbers = sum(one.numel() for one in parameters.values())
    measured = f"all {numbers:,} in {len(parameters):,} tensors loaded"
    return judged("parameters", measured, expected="no missing, no unexpected")


def _preprocessing(spec: ModelSpec, encoder: Any) -> list[Check]:
    try:
        measured, expected = measure(encoder), family_of(spec, encoder)
        return [check_normalising(measured, expected), check_resizing(measured, expected, encoder)]
    except ModelError as error:
        return [failed_row("pixels", error)]


def _row(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except ModelError as error:
        return failed_row(name, error)
