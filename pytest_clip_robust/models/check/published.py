"""Published logits of released weights on drawn pictures, which need no download.

Source: transformers 5, tests/models/siglip2/test_modeling_siglip2.py (Apache-2.0), computed on an NVIDIA GPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.models.check.encoding import image_features, pixels_of, text_features, unit
from pytest_clip_robust.models.spec import ModelSpec


class Published(NamedTuple):
    """Logits (T, N) of T texts and N pictures of these (width, height)."""

    sizes: tuple[tuple[int, int], ...]
    texts: tuple[str, ...]
    logits: tuple[tuple[float, ...], ...]


NAFLEX = Published(
    sizes=((224, 224), (1024, 1024), (1024, 224)),
    texts=(
        "circle",
        "ellipsoid",
        "blue circle on red background",
        "blue circle with green border on red background",
        "green circle on red background",
        "a dog",
        "a blue dog with a green border on a red background",
    ),
    logits=(
        (1.0195, -0.0280, -1.4468),
        (-4.5395, -6.2269, -1.5667),
        (4.1757, 5.0358, 3.5159),
        (9.4264, 10.1879, 6.3353),
        (2.4409, 3.1058, 4.5491),
        (-12.3230, -13.7355, -13.4632),
        (1.1520, 1.1687, -1.9647),
    ),
)

LOGITS = {"hf:google/siglip2-base-patch16-naflex": NAFLEX}
"""By spec, without options."""

ALLOWED = {"fp32": 0.05}
"""Largest difference of a logit by precision; the published ones of two kinds of GPU differ by 0.014."""
REDUCED = 0.5


def check_published(spec: ModelSpec, encoder: Any, precision: str) -> Check:
    """Compare a model's logits with the published ones of the weights that its spec names."""
    published = LOGITS.get(str(spec).partition("?")[0])
    if published is None or spec.option("revision"):
        return not_applicable("published", "no published values for this model")
    return compare(published, encoder, precision)


def compare(published: Published, encoder: Any, precision: str) -> Check:
    """Judge whether an encoder has the published logits."""
    images = [drawn(width, height) for width, height in published.sizes]
    found = _logits(encoder, images, list(published.texts))
    largest = float(np.abs(found - np.array(published.logits)).max())
    allowed = ALLOWED.get(precision, REDUCED)
    failure = ""
    if not largest <= allowed:
        failure = "these are not the published weights, or its preprocessing or tokenizer differs: fetch it again"
    measured = f"{found.size} logits differ by at most {largest:.2g}"
    return judged("published", measured, expected=f"at most {allowed:g}", failure=failure)


def drawn(width: int, height: int) -> Image.Image:
    """Return a blue circle with a green border on a red ground."""
    image = Image.new("RGB", (width, height), color="red")
    x, y = width // 2, height // 2
    radius = min(x, y) // 8 * 7
    box = (x - radius, y - radius, x + radius, y + radius)
    ImageDraw.Draw(image).ellipse(box, fill="blue", outline="green", width=width // 20)
    return image


def _logits(encoder: Any, images: list[Image.Image], texts: list[str]) -> NDArray[np.float64]:
    """Return (T, N) logits: scale * cosine + bias."""
    rows = np.concatenate([image_features(encoder, pixels_of(encoder, [one])) for one in images])
    cosines = unit(text_features(encoder, texts)).astype(np.float64) @ unit(rows).astype(np.float64).T
    logits: NDArray[np.float64] = float(encoder.scale) * cosines + float(encoder.bias)
    return logits
