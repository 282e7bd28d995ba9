"""Attacks through gradients: within their budget, along the gradient, equal for all batches, refused without one."""

from __future__ import annotations

import hashlib
import io
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding import attacks
from pytest_clip_robust.encoding.attacks import Target, attack_images, perturb, scaling_of
from pytest_clip_robust.errors import ConfigError, ModelError, NotApplicableError
from pytest_clip_robust.models.protocols import LoadedModel

pytest.importorskip("art", reason="needs the extra 'adversarial'")

SIDE, CLASSES = 12, 4
BUDGETS = (0.0, 0.5, 1.0, 2.0, 4.0, 16.0)
MEAN, DEVIATION = np.array([0.5, 0.4, 0.3], np.float32), np.array([0.2, 0.3, 0.25], np.float32)


class SmallEncoder:
    """Normalises each channel, as real models do; a convolution, a ReLU and a mean."""

    scale, bias, identity = 20.0, 0.0, "small"

    def __init__(self):
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 8, 5)

    def preprocess(self, image):
        pixels = np.asarray(image.resize((SIDE, SIDE)), np.float32) / 255
        return ((pixels - MEAN) / DEVIATION).transpose(2, 0, 1)

    def encode_image(self, pixels):
        return self.conv(pixels).relu().mean(dim=(2, 3))


def classify(features):
    return 20 * torch.nn.functional.normalize(features, dim=1) @ WEIGHTS.T


WEIGHTS = torch.nn.functional.normalize(torch.randn(CLASSES, 8, generator=torch.Generator().manual_seed(1)), dim=1)


def loaded(encoder):
    return LoadedModel(
        spec=SimpleNamespace(label="small"),
        encoder=encoder,
        weights="00" * 32,
        preprocess="11" * 32,
        text="",
        precision="fp32",
        device="cpu",
    )


def picture(seed):
    file = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def asked(encoder, *, count=12, decide=classify):
    """Return a set whose labels are the encoder's answers, except for the last image, and the features of the set."""
    files = [picture(seed) for seed in range(count)]
    pixels = torch.stack([torch.as_tensor(encoder.preprocess(Image.open(io.BytesIO(one)))) for one in files])
    with torch.no_grad():
        features = encoder.encode_image(pixels)
        labels = decide(features).argmax(dim=1).numpy()
    labels[-1] = (labels[-1] + 1) % CLASSES
    images = ImageSet(
        name="photos",
        read=files.__getitem__,
        samples=[f"{index}.png" for index in range(count)],
        digests=[hashlib.sha256(one).hexdigest() for one in files],
        labels=labels,
        class_names=tuple("abcd"),
        class_ids=tuple("abcd"),
        fingerprint="ff" * 32,
    )
    return images, features.numpy()


def attacked(encoder, *, steps=5, budgets=BUDGETS, **options):
    images, features = asked(encoder, **options)
    found = attack_images(
        loaded(encoder),
        images,
        classify,
        features=features,
        budgets=budgets,
        steps=steps,
        advance=lambda _: None,
    )
    return images, found


def target_of(encoder):
    return Target(loaded(encoder), classify)


def test_without_a_budget_answers_are_the_clean_ones_and_accuracy_never_rises_with_it():
    images, found = attacked(SmallEncoder())
    right = found.answers == images.labels
    np.testing.assert_array_equal(found.answers[0], found.clean)
    assert right[0].tolist() == [True] * 11 + [False]
    assert not (right[1:] & ~right[:-1]).any()
    assert right[-1].sum() < right[0].sum()
    assert ((found.confidence > 1 / CLASSES) & (found.confidence <= 1)).all()


@pytest.mark.parametrize("budget", [0.5 / 255, 4 / 255, 0.2])
def test_no_pixel_moves_further_than_the_budget_or_out_of_range(budget):
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.choice([0, 0.001, 0.5, 0.999, 1], (5, 3, SIDE, SIDE)).astype(np.float32))
    labels = np.zeros(5, np.int64)
    moved = perturb(target_of(SmallEncoder()), pixels, labels, budget=budget, steps=4)
    assert moved.shape == pixels.shape
    assert float((moved - pixels).abs().max()) <= budget + 1e-7
    assert 0 <= float(moved.min()) <= float(moved.max()) <= 1
    assert float((moved - pixels).abs().max()) >= 0.99 * budget


class LinearEncoder(SmallEncoder):
    """The pixels themselves are the features."""

    def encode_image(self, pixels):
        return pixels.flatten(1)


def test_the_attack_on_a_linear_model_goes_to_the_corner_of_the_budget():
    """For two classes and a linear model the worst change is known: the budget times the sign of the difference."""
    rng = np.random.default_rng(0)
    matrix = torch.from_numpy(rng.normal(size=(2, 3 * SIDE * SIDE)).astype(np.float32) / 50)
    model = loaded(LinearEncoder())
    target = Target(model, lambda features: features @ matrix.T)
    pixels = torch.from_numpy(rng.uniform(0.3, 0.7, (3, 3, SIDE, SIDE)).astype(np.float32))
    moved = perturb(target, pixels, np.array([0, 1, 0]), budget=0.02, steps=10)
    away = (matrix[1] - matrix[0]).sign().reshape(3, SIDE, SIDE)
    expected = pixels + 0.02 * torch.stack([away, -away, away])
    torch.testing.assert_close(moved, expected, atol=1e-5, rtol=0)


def test_the_same_attack_gives_the_same_answers():
    _, one = attacked(SmallEncoder())
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002 - the global state is what must not count
    _, other = attacked(SmallEncoder())
    np.testing.assert_array_equal(one.answers, other.answers)
    np.testing.assert_array_equal(one.confidence, other.confidence)


@pytest.mark.parametrize("batch", [1, 5])
def test_answers_do_not_depend_on_the_batch(monkeypatch, batch):
    _, expected = attacked(SmallEncoder())
    monkeypatch.setattr(attacks, "BATCH", batch)
    _, found = attacked(SmallEncoder())
    np.testing.assert_array_equal(found.answers, expected.answers)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-3)


def test_the_model_is_as_it_was():
    encoder = SmallEncoder()
    encoder.conv.train()
    before = {name: one.clone() for name, one in encoder.conv.state_dict().items()}
    attacked(encoder, count=4)
    assert encoder.conv.training
    assert all(one.grad is None and one.requires_grad for one in encoder.conv.parameters())
    assert all(torch.equal(one, before[name]) for name, one in encoder.conv.state_dict().items())


def test_normalising_is_recovered():
    scaling = scaling_of(SmallEncoder(), "small")
    np.testing.assert_allclose(scaling.offset[:, 0, 0], -MEAN / DEVIATION, atol=1e-6)
    np.testing.assert_allclose(scaling.slope[:, 0, 0], 1 / DEVIATION, atol=1e-5)
    normalised = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(scaling.normalised(scaling.recovered(normalised)), normalised)


class Padded(SmallEncoder):
    def preprocess(self, image):
        found = super().preprocess(image)
        found[:, :2] = 0
        return found


class Squared(SmallEncoder):
    def preprocess(self, image):
        return super().preprocess(image) ** 2


class Patches(SmallEncoder):
    def preprocess(self, image):
        return super().preprocess(image)[:1]


class Sharpened(SmallEncoder):
    def preprocess(self, image):
        found = super().preprocess(image)
        return found + 2 * (found - found.mean(axis=(1, 2), keepdims=True))


class OfNumpy(SmallEncoder):
    def encode_image(self, pixels):
        return super().encode_image(pixels).detach().numpy()


class Inference(SmallEncoder):
    def encode_image(self, pixels):
        return super().encode_image(pixels).numpy() if pixels.requires_grad else super().encode_image(pixels)


class Detached(SmallEncoder):
    def encode_image(self, pixels):
        return super().encode_image(pixels).detach()


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Padded, "does more with pixels than to resize and to scale each channel"),
        (Squared, "does more with pixels than to resize and to scale each channel"),
        (Patches, "does more with pixels than to resize and to scale each channel"),
        (Sharpened, r"makes pixels outside of the range of an image \(-"),
        (OfNumpy, "returns a ndarray in place of a tensor of torch, so it has no gradients"),
        (Inference, "small cannot be attacked: Can't call numpy"),
        (Detached, "gives features without gradients, so it cannot be attacked"),
    ],
)
def test_what_cannot_be_attacked_is_not_applicable_and_says_why(kind, reason):
    images, features = asked(SmallEncoder(), count=3)
    model = loaded(kind())
    with pytest.raises(NotApplicableError, match=reason) as error:
        attack_images(model, images, classify, features=features, budgets=(1.0,), steps=2, advance=lambda _: None)
    assert str(error.value).isprintable()


def test_features_that_are_not_those_of_the_image_are_an_error():
    images, features = asked(SmallEncoder(), count=3)
    model = loaded(SmallEncoder())
    with pytest.raises(ModelError, match="give other features than the image"):
        attack_images(model, images, classify, features=-features, budgets=(1.0,), steps=2, advance=lambda _: None)


def test_a_gradient_that_fails_is_one_line():
    def fails(features):
        return classify(features) if not features.requires_grad else features[:, :99] @ features

    images, features = asked(SmallEncoder(), count=3)
    model = loaded(SmallEncoder())
    with pytest.raises(ModelError, match="small: an attack failed: RuntimeError: ") as error:
        attack_images(model, images, fails, features=features, budgets=(1.0,), steps=2, advance=lambda _: None)
    assert str(error.value).isprintable()


def test_without_the_package_one_line_says_how_to_install_it(monkeypatch):
    for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "art", None)
    with pytest.raises(ConfigError, match=r"pip install 'pytest-clip-robust\[adversarial\]'"):
        attacked(SmallEncoder(), count=2, budgets=(1.0,))
