"""Checks of the features of the batch: finite, of equal dimensions, alive, spread out, and the same every time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from pytest_clip_robust.core.checks import Check, judged, not_applicable
from pytest_clip_robust.models.check.encoding import Features, Repeats, Rows, unit

CONSTANT = 1e-6
"""Standard deviation of a dimension over that of all values, below which the dimension is constant."""
SOME_DEAD, MOST_DEAD = 0.1, 0.5
COLLAPSED, CROWDED = 0.999, 0.98
"""Mean cosine between two pictures; of untrained towers it is above 0.98, of the showroom 0.02 to 0.1."""
FLAT = 2.0
"""Effective rank below which features differ along one direction only; of 16 pictures it is at most 15."""
TOLERANCES = {"fp32": 1e-3, "bf16": 5e-2, "fp16": 1e-2}
"""Relative difference between the features of one input in batches of two sizes, by precision."""
SAME = 1e-4
CLOSE, FAR = 0.99, 0.9
"""Cosine between a feature at the run's precision and at fp32."""


def check_finite(parameters: Mapping[str, torch.Tensor], features: Features) -> Check:
    """Judge whether parameters and features are finite numbers, and no feature is zero."""
    bad = [name for name, one in parameters.items() if one.is_floating_point() and not bool(torch.isfinite(one).all())]
    rows = np.concatenate([one.ravel() for one in (features.images, features.texts) if one is not None])
    wrong = int((~np.isfinite(rows)).sum())
    towers = {"images": features.images, "texts": features.texts}
    zeros = [what for what, one in towers.items() if one is not None and not np.abs(one).sum(axis=1).all()]
    measured = f"{len(bad)} of {len(parameters)} parameters and {wrong:,} of {rows.size:,} values with NaN or Inf"
    failure = ""
    if bad:
        failure = f"{bad[0]} has NaN or Inf: the training diverged, or the file is damaged; take an earlier checkpoint"
    elif wrong:
        failure = "features overflow: check the weights, or run with --clip-precision fp32"
    elif zeros:
        measured += f"; features of {zeros[0]} are zero"
        failure = f"the tower of {zeros[0]} returns zeros: check its weights"
    return judged("finite", measured, expected="only finite numbers", failure=failure)


def check_dimensions(features: Features) -> Check:
    """Judge whether images and texts have equally many dimensions."""
    if features.texts is None:
        return not_applicable("dimensions", f"{features.images.shape[1]} of images; the model has no text tower")
    images, texts = features.images.shape[1], features.texts.shape[1]
    failure = "" if images == texts else "return projected features from both towers, in one common space"
    return judged("dimensions", f"{images} of images, {texts} of texts", expected="equal", failure=failure)


def check_dead(features: Features) -> Check:
    """Judge how many dimensions are constant over the batch."""
    shares = {what: dead_share(rows) for what, rows in _towers(features).items()}
    worst = max(shares, key=shares.__getitem__)
    found = f"{shares[worst]:.0%} of the dimensions of {worst} do not change with the input"
    failure = f"{found}: check the projection and the last norm of that tower" if shares[worst] > MOST_DEAD else ""
    warning = f"{found}: compare with the checkpoint it was trained from" if shares[worst] > SOME_DEAD else ""
    measured = ", ".join(f"{share:.1%} of {what}" for what, share in shares.items())
    return judged("dead dimensions", measured, expected=f"at most {SOME_DEAD:.0%}", failure=failure, warning=warning)


def dead_share(rows: Rows) -> float:
    """Return the share of the dimensions of (N, D) features whose value is the same for all N inputs."""
    spread = float(rows.std())
    return float((rows.std(axis=0) <= CONSTANT * spread).mean()) if spread else 1.0


def check_spread(features: Features) -> Check:
    """Judge whether different inputs have different features: by mean cosine and by effective rank."""
    parts, failure, warning = [], "", ""
    for what, rows in _towers(features).items():
        cosine, rank = mean_cosine(rows), effective_rank(rows)
        parts.append(f"{what}: mean cosine {cosine:.3f}, effective rank {rank:.1f}")
        if cosine > COLLAPSED or rank < FLAT:
            failure = failure or f"all {what} have nearly the same features: the tower has collapsed or is not trained"
        elif cosine > CROWDED:
            warning = warning or f"features of {what} hardly differ: check its weights and its preprocessing"
    expected = f"cosine at most {CROWDED:g}, rank at least {FLAT:g}"
    return judged("spread", "; ".join(parts), expected=expected, failure=failure, warning=warning)


def mean_cosine(rows: Rows) -> float:
    """Return the mean cosine between two different rows of (N, D) features."""
    units = unit(rows).astype(np.float64)
    count = len(units)
    total = float((units @ units.T).sum() - (units**2).sum())
    return total / (count * (count - 1))


def effective_rank(rows: Rows) -> float:
    """Return exp of the entropy of the normalised singular values of centred unit rows; at most N - 1.

    Source: Roy and Vetterli, "The Effective Rank", EUSIPCO 2007.
    """
    units = unit(rows).astype(np.float64)
    values = np.linalg.svd(units - units.mean(axis=0), compute_uv=False)
    shares = values[values > 1e-9] / max(values.sum(), 1e-300)
    return float(np.exp(-(shares * np.log(shares)).sum())) if len(shares) else 0.0


def check_repeat(repeats: Repeats) -> Check:
    """Judge whether the same input has the same features twice."""
    difference = relative_difference(repeats.images, repeats.again)
    failure = "call .eval() on the model: something in it is random" if difference > SAME else ""
    return judged(
        "repeat", f"encoded twice, differs by {difference:.1e}", expected=f"at most {SAME:g}", failure=failure
    )


def check_batches(features: Features, repeats: Repeats, precision: str) -> Check:
    """Judge whether features depend on the other inputs of their batch."""
    allowed = TOLERANCES.get(precision, TOLERANCES["bf16"])
    differences = {"images": relative_difference(repeats.images, features.images[:2])}
    if features.texts is not None and repeats.texts is not None:
        differences["texts"] = relative_difference(repeats.texts, features.texts[:2])
    worst = max(differences, key=differences.__getitem__)
    fixes = {
        "images": "put batch norm into evaluation mode (.eval()), and do not normalise over the batch",
        "texts": "pad every text to the same length, or mask the padding",
    }
    size = len(features.images)
    measured = ", ".join(f"{what} {value:.1e}" for what, value in differences.items())
    return judged(
        "batches",
        f"in batches of {size} and of 2, differ by: {measured}",
        expected=f"at most {allowed:g}",
        failure=fixes[worst] if differences[worst] > allowed else "",
    )


def check_precision(features: Features, exact: Features | None, precision: str) -> Check:
    """Judge how far features at the run's precision are from those at fp32; `exact` is None for a run at fp32."""
    if exact is None:
        return not_applicable("precision", f"the run is at {precision}")
    pairs = [(features.images, exact.images)]
    if features.texts is not None and exact.texts is not None:
        pairs.append((features.texts, exact.texts))
    cosine = min(float((unit(one) * unit(other)).sum(axis=1).min()) for one, other in pairs)
    found = f"features at {precision} are unlike those at fp32"
    return judged(
        "precision",
        f"smallest cosine to fp32 {cosine:.4f}",
        expected=f"at least {CLOSE:g}",
        failure=f"{found}: use --clip-precision fp32" if not cosine >= FAR else "",
        warning=f"{found}: compare results with --clip-precision fp32" if cosine < CLOSE else "",
    )


def relative_difference(rows: Rows, others: Rows) -> float:
    """Return the largest norm of a row's difference over the row's norm."""
    norms = np.linalg.norm(rows, axis=1)
    return float((np.linalg.norm(rows - others, axis=1) / np.where(norms > 0, norms, 1)).max())


def _towers(features: Features) -> dict[str, Rows]:
    return {"images": features.images} | ({} if features.texts is None else {"texts": features.texts})
