"""Session: what all models of a run share, such as its data sets, its feature store and its prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_clip_robust.config.run import RunConfig, user_cache
from pytest_clip_robust.core.summary import RunSummary, changed_models
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.base import DeferredEngine, Engine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.evaluation.library import Library
from pytest_clip_robust.models.known import KnownModels
from pytest_clip_robust.models.protocols import AnswersQuestions, LoadedModel
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.names import LOCAL_ENGINE, RAY_ENGINE
from pytest_clip_robust.prompts.corpus import Corpus, corpus
from pytest_clip_robust.prompts.templates import PromptSet, prompt_set
from pytest_clip_robust.system.device import resolve_device
from pytest_clip_robust.system.progress import Advance, show_progress

if TYPE_CHECKING:
    from pytest_clip_robust.encoding.cluster.engine import RayEngine


class Session:
    """The shared state of a run: `library` reads data, `encoder` returns features.

    uncaptured: opens a context in which output is not captured by pytest, for progress. lock_folder: shared by the
    workers of a run, so that only one of them encodes the same prompts. processes: how many encode on this machine.
    quiet: show no progress. loading: entered while a model is loaded.
    """

    def __init__(
        self,
        run: RunConfig,
        *,
        uncaptured: Callable[[], AbstractContextManager[None]],
        lock_folder: Path | None = None,
        processes: int = 1,
        quiet: bool = False,
        loading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.run = run
        self._quiet = quiet
        self.profile = run.profile
        self._uncaptured = uncaptured
        self._notices: list[str] = []
        self._models: dict[str, dict[str, Any]] = {}
        self._prompted: set[str] = set()
        self._store = FeatureStore(f"{run.cache.rstrip('/')}/features", notice=self.notice)
        # Prepared data and pixels are memory-mapped, so they need a local folder even if features are in a bucket.
        self.cache = None if "://" in run.cache else Path(run.cache).expanduser().absolute()
        self.library = Library(run.profile, cache=self.cache and self.cache / "data", notice=self.notice)
        self._known = KnownModels(self.cache and self.cache / "models", loading=loading)
        self._cluster = None if run.engine == LOCAL_ENGINE else self._ray_engine()
        self.encoder = Encoder(
            self._store,
            self._cluster or DeferredEngine(partial(self._local_engine, processes)),
            rank=run.rank,
            lock_folder=lock_folder,
            progress=self.progress,
            notice=self.notice,
        )

    def close(self) -> None:
        """End the processes that were started for this run, and keep what was found out about its models."""
        self._known.close()
        if self._cluster is not None:
            self._cluster.close()

    def _local_engine(self, processes: int) -> Engine:
        from pytest_clip_robust.encoding.engines.local import LocalEngine  # noqa: PLC0415 - imports torch
        from pytest_clip_robust.encoding.pixels.cache import PixelCache  # noqa: PLC0415 - needed with it only

        run = self.run
        return LocalEngine(
            batch_size=run.batch_size,
            workers=run.workers,
            processes=processes,
            pixels=PixelCache(self._pixels, limit=run.pixel_cache, notice=self.notice) if run.pixel_cache else None,
            notice=self.notice,
        )

    def _ray_engine(self) -> RayEngine:
        from pytest_clip_robust.encoding.cluster.engine import RayEngine  # noqa: PLC0415 - few runs need it

        run = self.run
        return RayEngine(
            "" if run.engine == RAY_ENGINE else run.engine,
            device=run.device,
            batch_size=run.batch_size,
            workers=run.workers,
            pixels=self._pixels if run.pixel_cache else None,
            pixel_bytes=run.pixel_cache,
            notice=self.notice,
        )

    @property
    def _pixels(self) -> Path:
        """The folder of the pixel cache, on this machine also if features are in a bucket."""
        return (self.cache or user_cache()) / "pixels"

    @cached_property
    def prompts(self) -> PromptSet:
        """The profile's prompt set."""
        return prompt_set(self.profile.prompts)

    @cached_property
    def compared_prompts(self) -> tuple[PromptSet, ...]:
        """The prompt sets that the profile compares, or none."""
        return tuple(prompt_set(source) for source in self.profile.compared_prompts)

    @cached_property
    def corpus(self) -> Corpus:
        """The labels that negative labels are chosen from."""
        return corpus(self.profile.negatives)

    @cached_property
    def device(self) -> str:
        """The torch device that models run on.

        Raises:
            ConfigError: the device is unknown, or this machine does not have it.
        """
        rank = self.run.rank
        return resolve_device(self.run.device, local_rank=None if rank is None else rank.local_rank)

    def load(self, spec: ModelSpec) -> LoadedModel:
        """Load and check a model, now or when it is used, and keep its identity for the report.

        Raises:
            ModelError: it cannot be loaded, fails its checks, or differs from what was loaded under this name before.
        """
        run = self.run
        loaded = self._known.load(spec, device=self.device, precision=run.precision, compiled=run.compile)
        identity = {
            "spec": str(spec),
            "weights": loaded.weights,
            "preprocess": loaded.preprocess,
            "text": loaded.text,
            "precision": loaded.precision,
            "device": loaded.device,
            "compiled": loaded.compiled,
            "notes": list(loaded.notes),
            "card": loaded.card.plain(),
        }
        for line in changed_models([self._models, {spec.label: identity}]):
            raise ModelError(line)
        self._models[spec.label] = identity
        if loaded.has_texts:
            self._prompted.add(spec.label)
        if isinstance(loaded.encoder, AnswersQuestions):
            loaded.encoder.notice = self.notice
        return loaded

    def _prompts_of(self, label: str) -> dict[str, Any] | None:
        """Return the prompts that the run has used for a model, the last factor of its card; None if it used none."""
        if label not in self._prompted or "prompts" not in vars(self):
            return None
        return {"name": self.prompts.name, "templates": len(self.prompts.templates)}

    def notice(self, text: str) -> None:
        """Keep `text` for the lines below the table; equal notices are printed once."""
        if text not in self._notices:
            self._notices.append(text)

    @contextmanager
    def progress(self, things: str, whole: str, total: int, /) -> Iterator[Advance]:
        """Show the progress of long work, which pytest does not capture."""
        shown = show_progress(things, whole, total, notice=self.notice, quiet=self._quiet)
        with self._uncaptured(), shown as advance:
            yield advance

    def summary(self) -> RunSummary:
        """Return what was loaded and encoded so far, as plain data."""
        return RunSummary(
            models={label: {**about, "prompts": self._prompts_of(label)} for label, about in self._models.items()},
            data=self.library.summary(),
            notices=list(self._notices),
            images_encoded=self.encoder.counts["images"],
            texts_encoded=self.encoder.counts["texts"],
            answers_given=self.encoder.counts["answers"],
            left_to_others=self.encoder.left_to_others,
            rows_lost=self._store.rows_in_memory,
        )
