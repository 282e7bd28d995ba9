"""EvaluatedModel: the model that tests and notebooks ask for features, predictions and answers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.predictions import Predictions
from pytest_clip_robust.evaluation.adversarial import Adversarial
from pytest_clip_robust.evaluation.calibration import Calibration
from pytest_clip_robust.evaluation.captions import Composition, Retrieval
from pytest_clip_robust.evaluation.correspondence import Correspondence
from pytest_clip_robust.evaluation.corruptions import Corruptions
from pytest_clip_robust.evaluation.cues import ShapeBias
from pytest_clip_robust.evaluation.features import ModelFeatures
from pytest_clip_robust.evaluation.invariance import Invariance
from pytest_clip_robust.evaluation.multimodal import Multimodal
from pytest_clip_robust.evaluation.ood import OodDetection
from pytest_clip_robust.evaluation.prompts import PromptSensitivity
from pytest_clip_robust.evaluation.session import Session
from pytest_clip_robust.evaluation.typographic import Typographic
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.prompts.templates import PromptSet


class EvaluatedModel:
    """One model on the data sets of the profile; only samples that were never encoded before are encoded.

    spec, scale, bias: the model's own; logits are ``scale * cosine + bias``. Each aspect has an attribute: shape_bias,
    ood, calibration, prompts, retrieval, composition, corruptions, typographic, invariance, adversarial,
    correspondence and multimodal.

    Every method raises a ClipRobustError if a set cannot be read or encoded, or nothing can be measured on it.
    """

    def __init__(self, loaded: LoadedModel, session: Session) -> None:
        self._features = features = ModelFeatures(loaded, session)
        self.spec = loaded.spec
        self.scale, self.bias = features.scale, features.bias
        self.shape_bias = ShapeBias(features, session)
        self.ood = OodDetection(features, session)
        self.calibration = Calibration(features, session)
        self.prompts = PromptSensitivity(features, session, calibration=self.calibration, ood=self.ood)
        self.retrieval = Retrieval(features, session)
        self.composition = Composition(features, session)
        self.corruptions = Corruptions(features, session)
        self.typographic = Typographic(features, session)
        self.invariance = Invariance(features, session)
        self.adversarial = Adversarial(features, session)
        self.correspondence = Correspondence(features, session)
        self.multimodal = Multimodal(features, session)

    def zero_shot(self, dataset: str, *, prompts: PromptSet | None = None) -> Predictions:
        """Classify every image of `dataset` among its classes with `prompts`, by default the profile's."""
        return self._features.zero_shot(dataset, prompts)

    def image_features(self, dataset: str) -> NDArray[np.float32]:
        """Return the (N, D) features of a set's images, in the set's order, not normalised and read-only."""
        return self._features.images(dataset)

    def text_features(self, texts: Iterable[str]) -> NDArray[np.float32]:
        """Return the (len(texts), D) features of `texts`, not normalised."""
        return self._features.texts(texts)
