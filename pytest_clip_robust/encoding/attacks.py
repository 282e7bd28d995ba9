"""White-box attacks on an image encoder: images changed within a budget, along the gradients of the model's own loss.

Pixels are changed in [0, 1] at the size that the model sees, after resizing and before normalising. The package
adversarial-robustness-toolbox does the projected gradient descent; it starts at the image itself, so that the result
depends on nothing random.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.pixels.reading import read_pixels
from pytest_clip_robust.errors import ConfigError, ModelError, NotApplicableError
from pytest_clip_robust.models.protocols import EncodesImages, LoadedModel
from pytest_clip_robust.system.progress import Advance
from pytest_clip_robust.system.text import one_line

VERSION = 1
"""Part of the identity of attacked images; it changes whenever an attack gives other images than before."""

BATCH = 16
"""Images that are attacked together; the batch size of the run has no influence, not even by rounding."""

STEP = 2.5
"""The length of all steps together, in budgets, so that the edge of the budget is reached from anywhere inside."""

SLACK = 1e-3
"""By how much recovered pixels may leave [0, 1]; rounding is a thousand times less."""

ALIKE = 0.99
"""The least cosine between the features of recovered pixels and those that the store has of the same image."""

INSTALL = "pip install 'pytest-clip-robust[adversarial]'"

Classify = Callable[[torch.Tensor], torch.Tensor]
"""Turns (B, D) features into (B, C) logits, and can be differentiated."""


class Attacked(NamedTuple):
    """Answers without an attack, (N,), and at S budgets, (S, N), with their softmax probabilities."""

    clean: Ints
    answers: Ints
    confidence: Floats


def attack_images(
    model: LoadedModel,
    images: ImageSet,
    classify: Classify,
    *,
    features: NDArray[np.float32],
    budgets: Sequence[float],
    steps: int,
    advance: Advance,
) -> Attacked:
    """Attack each of N images whose answer is right at S ascending `budgets`, in 1/255, with `steps` steps each.

    An image whose answer changed is not attacked again: its change fits into every larger budget. features: (N, D), of
    the images as the store has them, which those of the recovered pixels must resemble.

    Raises:
        NotApplicableError: the model has no image encoder or no gradients, or its pixels cannot be recovered.
        ConfigError: the package that attacks is not installed.
        ModelError: the features differ from the stored ones, or the gradient fails.
        DataError: an image cannot be read.
    """
    target = Target(model, classify)
    shape = (len(budgets), len(images))
    clean = np.zeros(len(images), np.int64)
    answers, confidence = np.zeros(shape, np.int64), np.zeros(shape, np.float64)
    for rows, pixels in _pixels(target, images):
        target.check(pixels, features[rows])
        clean[rows], confidence[:, rows] = target.answers(pixels)
        answers[:, rows] = clean[rows]
        labels = images.labels[rows]
        for row, budget in enumerate(budgets):
            left = np.flatnonzero(answers[row, rows] == labels)
            if not len(left):
                break
            moved = perturb(target, pixels[left], labels[left], budget=budget / 255, steps=steps)
            found, sure = target.answers(moved)
            wrong = found != labels[left]
            answers[row:, rows[left[wrong]]], confidence[row:, rows[left[wrong]]] = found[wrong], sure[wrong]
            confidence[row, rows[left[~wrong]]] = sure[~wrong]
        advance(len(rows))
    return Attacked(clean, answers, confidence)


def cosine_classifier(weights: NDArray[np.float32], *, scale: float, bias: float) -> Classify:
    """Return the logits ``scale * cosine + bias`` for (C, D) unit weights, as a function of features."""
    of_classes = torch.from_numpy(weights)

    def classify(features: torch.Tensor) -> torch.Tensor:
        units = torch.nn.functional.normalize(features, dim=1)
        return scale * units @ of_classes.to(units.device).T + bias

    return classify


def linear_classifier(matrix: NDArray[np.float32], offset: NDArray[np.float32]) -> Classify:
    """Return the logits of a linear head as a function of features: (C, D) `matrix`, (C,) `offset`."""
    weight, constant = torch.from_numpy(np.ascontiguousarray(matrix)), torch.from_numpy(offset)

    def classify(features: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(features, weight.to(features.device), constant.to(features.device))

    return classify


def perturb(target: Target, pixels: torch.Tensor, labels: Ints, *, budget: float, steps: int) -> torch.Tensor:
    """Return (B, 3, H, W) pixels in [0, 1], none more than `budget` from those given, that raise the loss.

    Raises:
        ConfigError: the package that attacks is not installed.
        ModelError: the gradient fails.
    """
    if budget == 0:
        return pixels
    attacks, estimators = _toolbox()
    classifier = estimators.PyTorchClassifier(
        target,
        loss=torch.nn.CrossEntropyLoss(),
        input_shape=tuple(pixels.shape[1:]),
        nb_classes=target.count_classes(pixels[:1]),
        clip_values=(0.0, 1.0),
        device_type="gpu" if pixels.is_cuda else "cpu",
    )
    attack = attacks.ProjectedGradientDescentPyTorch(
        classifier,
        norm=np.inf,
        eps=budget,
        eps_step=STEP * budget / steps,
        max_iter=steps,
        num_random_init=0,
        batch_size=len(pixels),
        verbose=False,
    )
    try:
        moved = torch.from_numpy(attack.generate(pixels.cpu().numpy(), y=labels)).to(pixels.device)
    except (RuntimeError, ValueError) as error:
        raise ModelError(f"{target.label}: an attack failed: {type(error).__name__}: {one_line(error)}") from error
    # Adding and subtracting rounds, which must not leave the budget.
    return torch.clamp(moved, (pixels - budget).clamp(min=0), (pixels + budget).clamp(max=1))


class Target(torch.nn.Module):
    """The model as a function of pixels in [0, 1], with a gradient by the pixels alone.

    The encoder is no part of the module, so that nothing sets its mode, and its parameters get no gradients.
    """

    def __init__(self, model: LoadedModel, classify: Classify) -> None:
        """Recover from the encoder how pixels are normalised.

        Raises:
            NotApplicableError: the model has no image encoder, or its pixels cannot be recovered.
        """
        super().__init__()
        self.label, self.device = model.spec.label, torch.device(model.device)
        encoder = model.image_encoder
        self.preprocess = encoder.preprocess
        self.scaling = scaling_of(encoder, self.label)
        self._features = [encoder.encode_image]  # in a list, so that torch does not take it for a part of the module
        self._classify = classify

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels in [0, 1] into (B, D) features.

        Raises:
            NotApplicableError: they are no tensor of torch.
        """
        found = self._features[0](self.scaling.normalised(pixels))
        if not isinstance(found, torch.Tensor):
            raise NotApplicableError(
                f"{self.label} returns a {type(found).__name__} in place of a tensor of torch, so it has no gradients "
                "to attack it with"
            )
        return found.float()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels in [0, 1] into (B, C) logits."""
        logits: torch.Tensor = _GradientOfPixels.apply(pixels, self._logits)
        return logits

    def answers(self, pixels: torch.Tensor) -> tuple[Ints, Floats]:
        """Return (B,) answers, the first of the highest logits, and their softmax probabilities."""
        with torch.no_grad():
            logits = self._logits(pixels).double().cpu().numpy()
        top = logits.max(axis=1, keepdims=True)
        return logits.argmax(axis=1), 1 / np.exp(logits - top).sum(axis=1)

    def count_classes(self, pixels: torch.Tensor) -> int:
        """Return the number of classes."""
        with torch.no_grad():
            return self._logits(pixels).shape[1]

    def check(self, pixels: torch.Tensor, stored: NDArray[np.float32]) -> None:
        """Check that recovered pixels give the (B, D) features that are stored, and that they have a gradient.

        Raises:
            NotApplicableError: the features do not depend on the pixels by a function that has gradients.
            ModelError: the features differ.
        """
        with torch.no_grad():
            ours = self.features(pixels).cpu().numpy()
        try:
            with torch.enable_grad():
                found = self.features(pixels[:1].detach().clone().requires_grad_())
        except RuntimeError as error:  # some operations of torch refuse tensors that need a gradient
            raise NotApplicableError(f"{self.label} cannot be attacked: {one_line(error)}") from error
        if not found.requires_grad:
            raise NotApplicableError(f"{self.label} gives features without gradients, so it cannot be attacked")
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(stored, axis=1)
        cosines = (ours * stored).sum(axis=1) / lengths
        if not (cosines >= ALIKE).all():
            raise ModelError(
                f"{self.label}: pixels that were recovered for an attack give other features than the image (cosine "
                f"{float(cosines.min()):.3f}): its preprocessing is more than resizing and normalising"
            )

    def _logits(self, pixels: torch.Tensor) -> torch.Tensor:
        return self._classify(self.features(pixels)).to(pixels.device)


class _GradientOfPixels(torch.autograd.Function):
    """A function whose gradient is passed to its input only, and not to the parameters of the model inside."""

    @staticmethod
    def forward(ctx: Any, pixels: torch.Tensor, function: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        with torch.enable_grad():
            inside = pixels.detach().requires_grad_()
            outside = function(inside)
        ctx.inside, ctx.outside = inside, outside
        return outside.detach()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        found: torch.Tensor
        (found,) = torch.autograd.grad(ctx.outside, ctx.inside, gradients[0])
        return found, None


@dataclass(frozen=True, slots=True)
class Scaling:
    """The normalisation of an encoder's `preprocess`, (3, 1, 1) each: ``slope * pixel + offset``, pixels in [0, 1]."""

    slope: torch.Tensor
    offset: torch.Tensor

    def normalised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) pixels in [0, 1] into what the encoder takes."""
        return pixels * self.slope.to(pixels.device) + self.offset.to(pixels.device)

    def recovered(self, normalised: torch.Tensor) -> torch.Tensor:
        """Turn (B, 3, H, W) values that `preprocess` returned into pixels."""
        return (normalised - self.offset) / self.slope


def scaling_of(encoder: EncodesImages, label: str) -> Scaling:
    """Find how `preprocess` normalises, by what it makes of images of one grey.

    Raises:
        NotApplicableError: it does more than to resize and to scale each channel.
    """
    black, grey, white = (_of_grey(encoder, level) for level in (0, 102, 255))
    if black is not None and grey is not None and white is not None:
        slope = white - black
        if (slope.abs() > SLACK).all() and torch.allclose(black + 0.4 * slope, grey, atol=SLACK):
            return Scaling(slope[:, None, None], black[:, None, None])
    raise NotApplicableError(
        f"{label} does more with pixels than to resize and to scale each channel, so a change of pixels cannot be "
        "limited"
    )


def _of_grey(encoder: EncodesImages, level: int) -> torch.Tensor | None:
    """Return the (3,) values of an image of one grey; None if there are several, or not three channels."""
    found = torch.as_tensor(encoder.preprocess(Image.new("RGB", (97, 64), (level,) * 3))).float()
    if found.ndim != 3 or len(found) != 3:
        return None
    values = found.flatten(1)
    return values[:, 0] if torch.allclose(values, values[:, :1].expand_as(values), atol=SLACK) else None


def _pixels(target: Target, images: ImageSet) -> Iterator[tuple[Ints, torch.Tensor]]:
    """Yield the positions of some images, and their pixels in [0, 1] on the model's device.

    Raises:
        NotApplicableError: pixels are outside of [0, 1].
        DataError: an image cannot be read.
    """
    for batch in read_pixels(images, range(len(images)), target.preprocess, batch_size=BATCH, workers=0):
        pixels = target.scaling.recovered(batch.pixels)
        if pixels.min() < -SLACK or pixels.max() > 1 + SLACK:
            raise NotApplicableError(
                f"{target.label} makes pixels outside of the range of an image ({float(pixels.min()):.3f} to "
                f"{float(pixels.max()):.3f}), so a change cannot be limited to it"
            )
        yield np.array(batch.positions), pixels.clamp(0, 1).to(target.device)


def _toolbox() -> tuple[Any, Any]:
    """Import the modules of the toolbox with the attack and with the classifier: seconds, for runs that attack."""
    package = "art.attacks.evasion.projected_gradient_descent.projected_gradient_descent_pytorch"
    try:
        return importlib.import_module(package), importlib.import_module("art.estimators.classification.pytorch")
    except ImportError as error:
        raise ConfigError(
            f"the role 'adversarial' needs the package adversarial-robustness-toolbox ({one_line(error)}); {INSTALL}"
        ) from None
