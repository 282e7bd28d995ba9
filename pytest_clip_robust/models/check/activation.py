"""QuickGELU or GELU: the same weights are tried with both on the batch, as nothing in a file tells them apart.

The wrong one makes the model less sure of what is right. So the log probability of each picture's own text, and of each
text's own picture, is compared in pairs, and a sign-flip test says whether the difference is more than chance. With a
reference, the activation whose features are nearer to the reference's is tested in the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from pytest_clip_robust import showroom
from pytest_clip_robust.core.checks import Check, Status, judged, not_applicable
from pytest_clip_robust.models.check.encoding import Features, Rows, unit
from pytest_clip_robust.models.check.inside import modules_of
from pytest_clip_robust.models.check.matching import SIGNIFICANT, match
from pytest_clip_robust.models.spec import OPEN_CLIP, ModelSpec

NAMES = {False: "GELU", True: "QuickGELU"}
QUICK = frozenset({"QuickGELU", "QuickGELUActivation"})
"""Names of the classes of open_clip, timm and transformers."""
PLAIN = frozenset({"GELU", "GELUActivation"})
"""The same for the exact GELU; the tanh approximation is another activation, which CLIP does not use."""
FLIPS = 4096
"""Random sign flips of the paired test: p-values are multiples of 1/4097."""
NATS = 0.01
"""Smallest difference of the mean log probability that says anything about a model."""
NEARER = 0.1
"""Smallest difference of the nearness to a reference, as a share of what the nearer activation lacks of 1."""
NAME = "activation"


class QuickGELU(nn.Module):
    """x * sigmoid(1.702 x), the activation of OpenAI's models."""

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """Return the activated values."""
        return values * torch.sigmoid(1.702 * values)


def own_activation(encoder: object) -> bool | None:
    """Return True for QuickGELU, False for GELU, None if an encoder has neither, or both."""
    found = {_kind(child) for _, _, child in _activations(encoder)}
    return found.pop() if len(found) == 1 else None


def reaches_images(encoder: object) -> bool:
    """Return whether pictures can pass through an activation that `swapped` replaces, by the names of its modules.

    The text towers of open_clip and transformers are ``text``, ``transformer`` and ``text_model``.
    """
    holders = {
        name
        for module in modules_of(encoder).values()
        for name, parent in module.named_modules()
        if any(_kind(child) is not None for child in parent.children())
    }
    return not all(name.startswith(("text", "transformer")) for name in holders)


@contextmanager
def swapped(encoder: object) -> Iterator[None]:
    """Replace every GELU by QuickGELU and the reverse, and restore them at the end."""
    before = list(_activations(encoder))
    try:
        for parent, name, child in before:
            setattr(parent, name, nn.GELU() if _kind(child) else QuickGELU())
        yield
    finally:
        for parent, name, child in before:
            setattr(parent, name, child)


def check_activation(
    spec: ModelSpec,
    encoder: Any,
    features: Features,
    encode: Callable[[], Features],
    reference: Features | None,
) -> Check:
    """Judge by the batch whether the model was trained with the activation that it has.

    encode: encodes the batch again. reference: the batch's features of the reference, or None.
    """
    own = own_activation(encoder)
    if own is None:
        return not_applicable(NAME, "the model has no GELU or QuickGELU that could be confused")
    if spec.is_published and spec.name not in showroom.model_names():
        return judged(NAME, NAMES[own], expected="as open_clip lists for this tag")
    if features.texts is None:
        return not_applicable(NAME, f"{NAMES[own]}; the model has no text tower to judge it by")
    with swapped(encoder):
        other = encode()
    return _judged(spec, own=own, with_own=features, with_other=other, scale=float(encoder.scale), reference=reference)


def _judged(
    spec: ModelSpec, *, own: bool, with_own: Features, with_other: Features, scale: float, reference: Features | None
) -> Check:
    assert with_own.texts is not None and with_other.texts is not None  # noqa: S101, PT018 - narrows the types
    tried = match(with_own.images, with_own.texts, scale), match(with_other.images, with_other.texts, scale)
    measured = ", ".join(
        f"{NAMES[quick]} {one.hits} of {one.pictures}, sharpness {one.sharpness:.2f}"
        for quick, one in zip((own, not own), tried, strict=True)
    )
    votes = set()
    if min(one.p for one in tried) <= SIGNIFICANT:
        votes.add(vote(tried[1].log_likelihood - tried[0].log_likelihood, at_least=NATS))
    if reference is not None:
        nearer = agreement(with_own, reference), agreement(with_other, reference)
        measured += f"; nearness to the reference {nearer[0].mean():.4f} and {nearer[1].mean():.4f}"
        rest = 1 - max(float(one.mean()) for one in nearer)
        votes.add(vote(nearer[1] - nearer[0], at_least=max(NEARER * rest, 1e-4)))
    votes.discard(0)
    if votes == {1}:
        failure = f"{NAMES[not own]} fits this model better: {how_to_state(spec, quick=not own)}"
        return judged(NAME, measured, expected=NAMES[not own], failure=failure)
    if votes == {-1}:
        return judged(NAME, measured, expected=f"{NAMES[own]} fits better")
    return Check(name=NAME, status=Status.NOT_APPLICABLE, measured=f"{measured}: cannot be told apart")


def vote(differences: NDArray[np.float64], *, at_least: float) -> int:
    """Return 1 or -1 for the sign of differences that are larger than chance and than `at_least`, else 0."""
    sign, p = sign_flip(differences)
    return sign if p <= SIGNIFICANT and abs(float(differences.mean())) >= at_least else 0


def sign_flip(differences: NDArray[np.float64]) -> tuple[int, float]:
    """Return the sign of the mean of paired differences, and its two-sided p-value by random sign flips.

    >>> sign_flip(np.ones(20))[0], sign_flip(np.ones(20))[1] < 0.001
    (1, True)
    """
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (FLIPS, len(differences)))
    mean = float(differences.mean())
    as_far = np.abs(signs @ differences) / len(differences) >= abs(mean) * (1 - 1e-12)
    return int(np.sign(mean)), float((1 + as_far.sum()) / (1 + FLIPS))


def agreement(features: Features, reference: Features) -> NDArray[np.float64]:
    """Return for each of the 2N inputs how near its features are to the reference's, -1 to 1.

    Of a model with the same dimensions, the cosine. Otherwise, the correlation of the input's cosines to all others.
    """
    pairs = [(features.images, reference.images)]
    if features.texts is not None and reference.texts is not None:
        pairs.append((features.texts, reference.texts))
    if all(one.shape == other.shape for one, other in pairs):
        return np.concatenate([_cosines(one, other) for one, other in pairs])
    return np.concatenate([_correlations(one, other) for one, other in pairs])


def how_to_state(spec: ModelSpec, *, quick: bool) -> str:
    """Return how the activation of a model is stated."""
    value = str(quick).lower()
    if spec.kind == OPEN_CLIP and spec.has_checkpoint:
        kept = tuple(pair for pair in spec.options if pair[0] != "quick_gelu")
        options = (*kept, ("quick_gelu", value))
        return f"write {ModelSpec(kind=spec.kind, name=spec.name, weights=spec.weights, options=options)}"
    if spec.kind in {"local-dir", "hf-hub"}:
        return f'set "quick_gelu": {value} in model_cfg of its open_clip_config.json'
    if spec.kind == "hf":
        name = "quick_gelu" if quick else "gelu"
        return f'set "hidden_act": "{name}" in vision_config and text_config of its config.json'
    return f"build it with {NAMES[quick]}"


def _cosines(rows: Rows, others: Rows) -> NDArray[np.float64]:
    cosines: NDArray[np.float64] = np.einsum("nd,nd->n", unit(rows), unit(others), dtype=np.float64)
    return cosines


def _correlations(rows: Rows, others: Rows) -> NDArray[np.float64]:
    count = len(rows)
    found = np.zeros(count)
    first, second = unit(rows) @ unit(rows).T, unit(others) @ unit(others).T
    for i in range(count):
        rest = np.arange(count) != i
        found[i] = np.nan_to_num(np.corrcoef(first[i, rest], second[i, rest])[0, 1])
    return found


def _activations(encoder: object) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield each activation with the module that holds it and its name there."""
    for module in modules_of(encoder).values():
        for parent in module.modules():
            for name, child in parent.named_children():
                if _kind(child) is not None:
                    yield parent, name, child


def _kind(module: nn.Module) -> bool | None:
    """Return whether a module is QuickGELU; None if it is neither that nor the exact GELU."""
    name = type(module).__name__
    if name in QUICK:
        return True
    return False if name in PLAIN and getattr(module, "approximate", "none") == "none" else None
