"""One model outside of pytest: the same object that tests get as `model`, for notebooks and scripts."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pytest_clip_robust.config.checking import check_profile
from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.config.run import RunConfig, user_cache
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.evaluation.model import EvaluatedModel
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.names import CORRECTIONS, LOCAL_ENGINE, PRECISIONS

PIXELS = 4 * 2**30


def evaluate(
    spec: str,
    profile: str | Path | None = "showroom",
    *,
    data: Sequence[str] = (),
    cache: str | Path | None = None,
    device: str = "auto",
    precision: str = "fp32",
    batch_size: int | None = None,
    workers: int | None = None,
) -> EvaluatedModel:
    """Load a model and return it as the fixture `model` gives it to tests; properties turn its answers into numbers.

    Features come from the feature store, and go there, so that a notebook encodes nothing that a run of pytest has
    encoded with the same cache.

    Args:
        spec: as after ``--model``.
        profile: name or TOML file of a profile, or None for one that consists of `data`.
        data: sets as after ``--clip-data``, each ``"NAME=LOCATION"``.
        cache: folder or fsspec URL of the feature store; by default the user cache, as in runs of pytest.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        batch_size: images per batch; by default as many as fit.
        workers: processes that decode images; by default the engine's choice.

    Raises:
        ClipRobustError: the spec, profile or an option is wrong, or the model cannot be loaded.

    Example:
        >>> from pytest_clip_robust.properties import accuracy
        >>> model = evaluate("showroom-clip")  # doctest: +SKIP
        >>> accuracy.top_k(model.zero_shot("showroom-id")).value  # doctest: +SKIP
        0.755...
    """
    if precision not in PRECISIONS:
        near = did_you_mean(precision, PRECISIONS)
        raise ConfigError(f"precision={precision!r}{near}; expected one of {', '.join(PRECISIONS)}")
    for name, number, least in (("batch_size", batch_size, 1), ("workers", workers, 0)):
        if number is not None and number < least:
            raise ConfigError(f"{name}={number}; expected at least {least}")
    model = ModelSpec.parse(spec)
    run = RunConfig(
        models=(model,),
        panel=None,
        findings="inform",
        reference=None,
        profile=load_profile(None if profile is None else str(profile), data),
        baselines=Path("baselines"),
        baseline_name="",
        alpha=0.05,
        correction=CORRECTIONS[0],
        cache=str(user_cache() if cache is None else cache),
        report=None,
        device=device,
        precision=precision,
        batch_size=batch_size,
        workers=workers,
        engine=LOCAL_ENGINE,
        pixel_cache=PIXELS,
        compile=False,
        worker_memory=None,
        worker_gpus=1,
        strict=False,
        rank=None,
    )
    check_profile(run.profile)
    session = Session(run, uncaptured=nullcontext)
    evaluated = EvaluatedModel(session.load(model), session)
    # A notebook has no end of the run; at the latest, this is called when Python ends.
    weakref.finalize(evaluated, session.close)
    return evaluated
