"""Correspondence: whether dense features find the same point in another view, or on another object of the class.

Geometric recall is that of Probe3D (El Banani et al. 2024, section 4): the share of the most distinctive matches of two
views that are within a few centimetres in space, or a few pixels in the image. It is a mean over pairs of views; pairs
of one scene are one cluster. PCK@0.1 is that of SPair-71k (Min et al. 2019): the share of keypoints found within a
tenth of the object's larger side, a mean over classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.evidence import Evidence, Stratum, Sums, Term, sums_evidence
from pytest_clip_robust.core.measurement import MatchedPair, Measurement, Metric
from pytest_clip_robust.errors import MeasurementError, did_you_mean
from pytest_clip_robust.scoring.matches import KeypointMatches, ViewMatches, bin_name
from pytest_clip_robust.stats import clusters
from pytest_clip_robust.stats.resampling import interval_of, value_from

WITHIN = {"1cm": 0.01, "2cm": 0.02, "5cm": 0.05, "5px": 5.0, "10px": 10.0, "20px": 20.0}
"""The largest error of a correct match: metres in space, or pixels of the resized image."""

BY_ANGLE = ("2cm", "10px")
"""The distances that are also measured per bin of view angles."""

PCK_SHARE = 0.1
"""The largest error of a correct keypoint, over the larger side of the object's box."""

HEADLINE = "2cm"

RECALL = Metric("correspondence.recall_{within}", direction="higher", tolerance=0.01, headline=False)
PCK = Metric("correspondence.pck_10", direction="higher", tolerance=0.01, headline=True)


def recall(matches: ViewMatches, within: str, *, angles: tuple[float, float] | None = None) -> Measurement:
    """Measure the share of matches with an error below a distance, as ``correspondence.recall_<within>``.

    `within` is a key of WITHIN. `angles` (degrees) keeps the pairs of one bin of view angles; the subset is then
    ``<low>-<high>``. Recall within 2 cm over all angles is a headline, and has the `pairs` with the most and the fewest
    right matches.

    Raises:
        MeasurementError: the distance is unknown, or no pair is in the bin.
    """
    if within not in WITHIN:
        raise MeasurementError(f"no distance {within!r}{did_you_mean(within, WITHIN)}; expected {', '.join(WITHIN)}")
    kept = np.arange(len(matches)) if angles is None else matches.within(angles)
    subset = "" if angles is None else bin_name(angles)
    if not len(kept):
        raise MeasurementError(f"{matches.dataset!r} has no views {subset} degrees apart")
    errors = matches.metres if within.endswith("cm") else matches.pixels
    shares = np.array([(errors[pair] < WITHIN[within]).mean() for pair in kept.tolist()])
    matches_kept = sum(len(errors[pair]) for pair in kept.tolist())
    headline = within == HEADLINE and angles is None
    groups = _groups([matches.scenes[pair] for pair in kept.tolist()])
    return Measurement.of(
        matches,
        replace(RECALL.named(within=within), headline=headline),
        float(shares.mean()),
        clusters.proportion_interval(shares, groups, trials=matches_kept),
        n=len(kept),
        subset=subset,
        outcomes=shares,
        samples=[matches.samples[pair] for pair in kept.tolist()],
        evidence=clusters.mean_evidence(matches.dataset, shares, groups),
        details={"matches": matches_kept, "scenes": len({matches.scenes[pair] for pair in kept.tolist()})},
        pairs=_best_and_worst(matches, shares) if headline else (),
    )


def pck(matches: KeypointMatches, *, class_name: str = "", viewpoint: int | None = None) -> Measurement:
    """Measure the share of keypoints found within a tenth of the object's side, as ``correspondence.pck_10``.

    The value is the mean over classes of the share of their keypoints. `class_name` keeps one class, `viewpoint` the
    pairs with one change of viewpoint; the subset is then the class, ``viewpoint_<n>``, or both, and a detail.

    Raises:
        MeasurementError: the class or the change of viewpoint does not occur.
    """
    keep = np.ones(len(matches), np.bool_)
    subset = ""
    if class_name:
        if class_name not in matches.class_names:
            near = did_you_mean(class_name, matches.class_names)
            raise MeasurementError(f"{matches.dataset!r} has no class {class_name!r}{near}")
        subset = class_name
        keep &= matches.classes[matches.pair_of] == matches.class_names.index(class_name)
    if viewpoint is not None:
        subset = "/".join(filter(None, (subset, f"viewpoint_{viewpoint}")))
        keep &= matches.viewpoints[matches.pair_of] == viewpoint
    if not keep.any():
        raise MeasurementError(f"{matches.dataset!r} has no keypoints of {subset!r}, so there is nothing to measure")
    pairs, found = matches.pair_of[keep], matches.errors[keep] <= PCK_SHARE
    classes = matches.classes[pairs]
    evidence = _by_class(matches.dataset, found, classes, matches.sources[pairs])
    of_class = {
        f"class_{matches.class_names[one]}": float(found[classes == one].mean()) for one in np.unique(classes).tolist()
    }
    return Measurement.of(
        matches,
        PCK.as_detail() if subset else PCK,
        value_from(evidence),
        interval_of(evidence, bounds=(0.0, 1.0)),
        n=int(keep.sum()),
        subset=subset,
        evidence=evidence,
        details={"pairs": float(len(np.unique(pairs))), **(of_class if len(of_class) > 1 else {})},
    )


def _best_and_worst(matches: ViewMatches, shares: Floats) -> tuple[MatchedPair, ...]:
    """Return matches of the pair with the largest and of that with the smallest share (P,) of right ones."""
    if matches.places is None or not matches.images:
        return ()
    chosen = np.array(list(dict.fromkeys([int(shares.argmax()), int(shares.argmin())])))
    return tuple(
        MatchedPair(
            images=matches.images[pair],
            share=float(shares[pair]),
            places=np.asarray(places[:, :4], np.float64),
            right=places[:, 4] < WITHIN[HEADLINE],
        )
        for pair, places in zip(chosen.tolist(), matches.places(chosen), strict=False)
    )


def _groups(scenes: Sequence[str]) -> Ints:
    """Return (P,) cluster numbers: the scenes, or the pairs themselves if all are of one scene."""
    distinct, groups = np.unique(np.array(scenes), return_inverse=True)
    return groups.astype(np.int64) if len(distinct) > 1 else np.arange(len(scenes))


def _by_class(dataset: str, found: NDArray[np.bool_], classes: Ints, sources: Ints) -> Evidence:
    """Return the evidence of a mean over classes of the share of keypoints `found` (M,), sampled by source image."""
    pictures, rows = np.unique(np.stack([classes, sources]), axis=1, return_inverse=True)
    distinct, cells = np.unique(pictures[0], return_inverse=True)
    columns: dict[str, NDArray[Any]] = {
        "found": np.bincount(rows, weights=found).astype(np.int32),
        "keypoints": np.bincount(rows).astype(np.int32),
        "class": cells.astype(np.int32),
    }

    def terms(of: Any) -> list[Term]:
        cell = of["class"].astype(np.int64)
        return [Term(of[name], cell, len(distinct)) for name in ("found", "keypoints")]

    def mean(sums: Sequence[Sums]) -> Floats:
        right, all_of = sums[0]
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = right / all_of
        drawn = all_of > 0
        # A replicate without an image of a class leaves that class out of its mean.
        means: Floats = np.where(drawn, shares, 0).sum(axis=1) / drawn.sum(axis=1)
        return means

    return sums_evidence([Stratum(name=dataset, columns=columns)], terms, mean)
