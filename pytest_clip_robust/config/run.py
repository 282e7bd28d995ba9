"""RunConfig: everything a run was asked for, checked and frozen."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs

from pytest_clip_robust.config.panel import ModelPanel
from pytest_clip_robust.config.profile import Profile
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.rank import Rank

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """The settings of a run. `cache` is a folder or an fsspec URL; `report` a folder or None.

    models: all models of the run; panel: the panel file that named them, or None.
    findings: ``fail`` if a finding of the study that does not hold fails its test, ``inform`` if it is only shown.
    series: checkpoints of one training run, in their order, for each spec with ``*``.
    reference: the model that others are compared with instead of their baselines, or None.
    baselines: the folder with one folder a family; baseline_name: that folder's name, or ``""`` for the family's.
    alpha: the chance that a run calls any gate regressed while nothing got worse.
    correction: how alpha is kept with many gates: ``benjamini-hochberg``, when all of them have run, or ``bonferroni``.
    batch_size: images per batch, and workers: processes that decode, None for the engine's choice.
    engine: ``local``, ``ray``, or the address of a Ray cluster.
    pixel_cache: the bytes that resized images may take, 0 for none. compile: whether torch.compile is asked for.
    worker_memory: the GiB that a worker of xdist needs on its device, or None for a device that no other worker uses.
    worker_gpus: how many GPUs the first worker of xdist gets.
    rank: the part of the samples that this process encodes, measuring nothing; None for a run that measures.
    """

    models: tuple[ModelSpec, ...]
    series: tuple[tuple[ModelSpec, ...], ...] = ()
    panel: ModelPanel | None
    findings: str
    reference: ModelSpec | None
    profile: Profile
    baselines: Path
    baseline_name: str
    alpha: float
    correction: str
    cache: str
    report: Path | None
    device: str
    precision: str
    batch_size: int | None
    workers: int | None
    engine: str
    pixel_cache: int
    compile: bool
    worker_memory: float | None
    worker_gpus: int
    strict: bool
    rank: Rank | None


def user_cache() -> Path:
    """Return the folder for what a run keeps when it is told no other."""
    return Path(platformdirs.user_cache_dir("pytest-clip-robust"))
