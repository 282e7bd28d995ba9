"""Parameters that look as they did before training: the whole model's, or those of some of its parts.

Two signs are used. Norm layers start with weights of exactly 1 and biases of exactly 0, and no training leaves them
there. And the largest singular value of a random matrix is known: sigma * (sqrt(rows) + sqrt(columns)), the edge of
the Marchenko-Pastur law, so a larger one is structure that was learnt (Martin and Mahoney, "Implicit
Self-Regularization in Deep Neural Networks", JMLR 2021). A matrix at the edge need not be random: short training of
a wide layer leaves it there. So that sign counts only if no matrix of a model has structure.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping

import torch

from pytest_clip_robust.core.checks import Check, judged, not_applicable

SMALLEST = 16
"""Smallest side of a matrix whose largest singular value is looked at."""
LARGEST = 1024
"""Rows and columns that are looked at; a part of a random matrix is random."""
MATRICES = 32
"""Number of matrices that are looked at, evenly spaced."""
STEPS = 15
"""Steps of the power iteration; it can only underestimate, and little where one value exceeds all others."""
STRUCTURED = 0.1
"""Smallest share of matrices with structure of a trained model. Measured: untrained 0 to 0.02, showroom-clip 0.5."""
ENOUGH = 4
"""Smallest number of matrices that a model is judged by."""
BLOCK = re.compile(r"^(.*?\.\d+)\.")


def check_weights(parameters: Mapping[str, torch.Tensor]) -> Check:
    """Judge whether parameters, by name, are those of a trained model."""
    name, expected = "weights", "trained"
    if not parameters:
        return not_applicable(name, "the encoder holds no torch module")
    norms = norms_at_start(parameters)
    edges = [ratio for ratio in map(edge_ratio, _matrices(parameters)) if ratio is not None]
    structured = sum(ratio > 1 for ratio in edges)
    if not norms and len(edges) < ENOUGH:
        return not_applicable(name, "too few norm layers and matrices to judge")
    fresh = [one for one, at_start in norms.items() if at_start]
    measured = f"{len(fresh)} of {len(norms)} norm layers at their initial values"
    if edges:
        measured += f"; {structured} of {len(edges)} matrices with structure"
    failure = warning = ""
    if fresh and len(fresh) == len(norms):
        failure = "the model is randomly initialised: give the checkpoint that its training wrote"
    elif blocks := _fresh_blocks(norms):
        failure = (
            f"{len(blocks)} blocks are randomly initialised, first {blocks[0]}: the checkpoint was loaded in part; "
            "compare its parameter names with the model's and load it with strict=True"
        )
    elif len(edges) >= ENOUGH and structured < STRUCTURED * len(edges):
        failure = "no matrix differs from random numbers: give the checkpoint that a training wrote"
    elif fresh:
        warning = f"{fresh[0]} was never trained; check that the checkpoint has it, unless the model does not use it"
    return judged(name, measured, expected=expected, failure=failure, warning=warning)


def norms_at_start(parameters: Mapping[str, torch.Tensor]) -> dict[str, bool]:
    """Return for each norm layer with weight and bias whether they are exactly 1 and 0.

    >>> norms_at_start({"ln.weight": torch.ones(4), "ln.bias": torch.zeros(4)})
    {'ln': True}
    """
    found = {}
    for name, weight in parameters.items():
        layer = name.removesuffix(".weight")
        bias = parameters.get(f"{layer}.bias")
        if layer != name and bias is not None and weight.ndim == bias.ndim == 1 and weight.numel() > 1:
            # The last norm of a residual block of a ResNet starts with weights of 0.
            start = bool((weight == weight[0]).all()) and float(weight[0]) in {0.0, 1.0}
            found[layer] = start and not bool(bias.any())
    return found


def edge_ratio(matrix: torch.Tensor) -> float | None:
    """Return the largest singular value over its upper limit for random entries; None if the matrix is too small.

    The limit is the Marchenko-Pastur edge plus three units of its fluctuation, of relative size n^(-2/3) for a smaller
    side of n. Above 1 the matrix is not random.
    """
    flat = matrix.detach().flatten(1)[:LARGEST, :LARGEST].float().cpu()
    rows, columns = flat.shape
    sigma = flat.square().mean().sqrt()
    if min(rows, columns) < SMALLEST or not torch.isfinite(sigma) or not sigma:
        return None
    vector = torch.randn(columns, generator=torch.Generator().manual_seed(0))
    for _ in range(STEPS):
        vector = flat.T @ (flat @ vector)
        vector /= vector.norm()
    largest = (flat @ vector).norm() / (sigma * (rows**0.5 + columns**0.5))
    return float(largest / (1 + 3 * min(rows, columns) ** (-2 / 3)))


def _matrices(parameters: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    found = [tensor for tensor in parameters.values() if tensor.ndim >= 2 and tensor.is_floating_point()]
    found = [tensor for tensor in found if min(tensor.flatten(1).shape) >= SMALLEST]
    return found[:: -(-len(found) // MATRICES) or 1]


def _fresh_blocks(norms: Mapping[str, bool]) -> list[str]:
    """Return the blocks with two norm layers or more, all of them at their initial values."""
    blocks: dict[str, list[bool]] = defaultdict(list)
    for layer, at_start in norms.items():
        if found := BLOCK.match(f"{layer}."):
            blocks[found[1]].append(at_start)
    return [block for block, states in blocks.items() if len(states) > 1 and all(states)]
