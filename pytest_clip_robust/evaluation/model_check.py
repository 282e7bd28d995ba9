"""Check the models of a run before anything is measured: each is loaded once, and no data set is read."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from pytest_clip_robust.config.run import RunConfig
from pytest_clip_robust.core.checks import CheckedModel
from pytest_clip_robust.errors import ClipRobustError, ModelError
from pytest_clip_robust.models.check.encoding import Features
from pytest_clip_robust.models.check.run import batch_features, check_loaded, failed_row
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.prompts.templates import prompt_set
from pytest_clip_robust.system.device import resolve_device

CLASS = "grey-headed long-tailed prairie chicken"
"""A class name as long as the longest of most data sets; that of real ones is not known before they are read."""


def check_models(run: RunConfig) -> Iterator[CheckedModel]:
    """Yield the checks of each model of a run, and last of its reference.

    A model that cannot be loaded has one failed row, and the others are still checked.

    Raises:
        ConfigError: the device, or the profile's prompt set, does not exist.
    """
    device = resolve_device(run.device)
    prompts = prompt_set(run.profile.prompts).texts([CLASS])
    last, features = (None, None) if run.reference is None else _checked(run, run.reference, device, prompts, None)
    for spec in run.models:
        if spec != run.reference:
            yield _checked(run, spec, device, prompts, features)[0]
    if last is not None:
        yield last


def _checked(
    run: RunConfig, spec: ModelSpec, device: str, prompts: list[str], reference: Features | None
) -> tuple[CheckedModel, Features | None]:
    """Return the checks of a model and, for the reference, the features of its batch."""
    start = time.perf_counter()
    exact = _exact(spec, device) if run.precision != "fp32" else None
    try:
        loaded = load_unchecked(spec, device=device, precision=run.precision, folded=False)
        rows = check_loaded(loaded, prompts=prompts, reference=reference, exact=exact)
        features = _features(loaded.encoder) if spec == run.reference else None
    except ClipRobustError as error:
        line = str(error).removeprefix(f"model {spec.label}: ")
        failed = (failed_row("parameters", ModelError(line)),)
        return CheckedModel(label=spec.label, checks=failed, seconds=time.perf_counter() - start), None
    seconds = time.perf_counter() - start
    return CheckedModel(label=spec.label, checks=tuple(rows), notes=loaded.notes, seconds=seconds), features


def _features(encoder: object) -> Features | None:
    """Return the features of a reference that works; what fails is in its rows."""
    try:
        return batch_features(encoder)
    except ModelError:
        return None


def _exact(spec: ModelSpec, device: str) -> Callable[[], Features]:
    return lambda: batch_features(load_unchecked(spec, device=device, precision="fp32", folded=False).encoder)
