"""Library: the data sets of a profile, each read once per run."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pytest_clip_robust.config.profile import Profile
from pytest_clip_robust.core.arrays import Floats
from pytest_clip_robust.datasets.captions.captions import CaptionSet, load_caption_set
from pytest_clip_robust.datasets.captions.contrast_set import ContrastSet, MatchSet
from pytest_clip_robust.datasets.captions.contrasts import load_contrast_set
from pytest_clip_robust.datasets.captions.word_order import word_order_set
from pytest_clip_robust.datasets.correspondence.keypoint_set import KeypointSet
from pytest_clip_robust.datasets.correspondence.keypoints import load_keypoint_set
from pytest_clip_robust.datasets.correspondence.view_set import ViewSet
from pytest_clip_robust.datasets.correspondence.views import load_view_set
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.datasets.questions.question_set import QuestionSet
from pytest_clip_robust.datasets.questions.questions import load_question_set
from pytest_clip_robust.errors import ConfigError, did_you_mean
from pytest_clip_robust.scoring.pairs import tell_texts_apart
from pytest_clip_robust.system.notice import Notice

_Set = TypeVar("_Set", ImageSet, CaptionSet, ContrastSet | MatchSet, ViewSet, KeypointSet, QuestionSet)


class Library:
    """The data sets of `profile`. HF `datasets` prepares them in `cache`, a local folder, or in its default for None.

    Every method raises a ConfigError if the profile has no such set, and a DataError if the set cannot be read.
    """

    def __init__(self, profile: Profile, *, cache: Path | None, notice: Notice) -> None:
        self.cache = cache
        self._profile, self._notice = profile, notice
        self._images: dict[str, ImageSet] = {}
        self._captions: dict[str, CaptionSet] = {}
        self._contrasts: dict[str, ContrastSet | MatchSet] = {}
        self._views: dict[str, ViewSet] = {}
        self._keypoints: dict[str, KeypointSet] = {}
        self._questions: dict[str, QuestionSet] = {}
        self._text_only: dict[str, Floats | None] = {}

    def images(self, name: str) -> ImageSet:
        """Return a set of images with labels."""
        prompted = name not in self._profile.sets("ood")
        return self._once(self._images, name, partial(load_image_set, prompted=prompted))

    def captions(self, name: str) -> CaptionSet:
        """Return a set of images with captions."""
        return self._once(self._captions, name, load_caption_set)

    def contrasts(self, name: str) -> ContrastSet | MatchSet:
        """Return a set of images with true and false captions, or of pairs of images with pairs of captions."""
        return self._once(self._contrasts, name, load_contrast_set)

    def views(self, name: str) -> ViewSet:
        """Return a set of posed views."""
        return self._once(self._views, name, load_view_set)

    def keypoints(self, name: str) -> KeypointSet:
        """Return a set of images with keypoints."""
        return self._once(self._keypoints, name, load_keypoint_set)

    def questions(self, name: str) -> QuestionSet:
        """Return a set of closed-set questions about images."""
        return self._once(self._questions, name, load_question_set)

    def word_order(self, name: str) -> ContrastSet:
        """Return the first caption of each image of a set against the same words in other orders."""
        return word_order_set(self.captions(name))

    def text_only(self, found: ContrastSet) -> Floats | None:
        """Return (I,) whether a classifier of the captions alone is correct on each item; see `tell_texts_apart`.

        An item is as correct as the least correct of its false captions. The classifier is fitted once for all models.
        """
        if found.fingerprint not in self._text_only:
            true = [found.texts[i] for i in found.true_of[found.false_items].tolist()]
            false = [found.texts[i] for i in found.false_of.tolist()]
            correct = tell_texts_apart(true, false, found.image_of[found.false_items])
            starts = np.searchsorted(found.false_items, np.arange(len(found.samples)))
            self._text_only[found.fingerprint] = None if correct is None else np.minimum.reduceat(correct, starts)
        return self._text_only[found.fingerprint]

    def summary(self) -> dict[str, dict[str, Any]]:
        """Return what was read, by name: numbers of images, texts, pairs and questions, fingerprint and licence."""
        read = {name: _identity(images, images.fingerprint) for name, images in self._images.items()}
        texts: dict[str, int] = {name: len(found.captions) for name, found in self._captions.items()}
        texts |= {name: len(found.texts) + texts.get(name, 0) for name, found in self._contrasts.items()}
        for name, found in (*self._captions.items(), *self._contrasts.items()):
            read[name] = read.get(name, _identity(found.images, found.fingerprint)) | {"texts": texts[name]}
        paired: list[tuple[str, ViewSet | KeypointSet]] = [*self._views.items(), *self._keypoints.items()]
        for name, one in paired:
            read[name] = read.get(name, _identity(one.images, one.fingerprint)) | {"pairs": len(one.pairs)}
        for name, asked in self._questions.items():
            read[name] = read.get(name, _identity(asked.images, asked.fingerprint)) | {"questions": len(asked)}
        return read

    def _once(self, sets: dict[str, _Set], name: str, load: Callable[..., _Set]) -> _Set:
        if name not in sets:
            entries = self._profile.data
            if name not in entries:
                raise ConfigError(f"no data set {name!r} in this run{did_you_mean(name, entries)}")
            sets[name] = load(entries[name], cache_dir=self.cache)
            for remark in sets[name].remarks:
                self._notice(remark)
        return sets[name]


def _identity(images: ImageSet, fingerprint: str) -> dict[str, Any]:
    return {"images": len(images), "fingerprint": fingerprint, "licence": images.licence}
