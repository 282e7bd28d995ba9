"""Errors of dense matches between views, and of keypoints between images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from pytest_clip_robust.core.arrays import Floats, Ints
from pytest_clip_robust.core.measurement import Provenance
from pytest_clip_robust.errors import MeasurementError


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewMatches:
    """Errors of the matches between P pairs of views.

    metres, pixels: P arrays with the errors of one or more matches each; infinite if a match cannot be correct.
    angles: (P,) degrees between the views, 0 to 180. scenes: P names of scenes. samples: P names of pairs.
    edges: rising degrees, the edges of bins; a bin includes its first edge, and the last bin both edges.
    images: P names of the two images of each pair, or nothing if they are not known.
    places: returns matches of the pairs at some positions, to draw them, or fewer arrays if they are not known. Each is
        (M, 5): x and y in the first image, x and y in the second, 0 to 1, and the error in metres.

    Raises:
        MeasurementError: no pair is given, a pair has no match, or lengths disagree.
    """

    dataset: str
    metres: Sequence[NDArray[np.floating]]
    pixels: Sequence[NDArray[np.floating]]
    angles: Floats
    scenes: Sequence[str]
    samples: Sequence[str]
    edges: tuple[float, ...] = (0, 30, 60, 90, 120)
    images: Sequence[tuple[str, str]] = ()
    places: Callable[[Ints], Sequence[NDArray[np.floating]]] | None = None
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        sizes = {len(self.metres), len(self.pixels), len(self.angles), len(self.scenes), len(self.samples)}
        if len(sizes) != 1 or not len(self.angles):
            raise MeasurementError(f"matches on {self.dataset!r}: of {sorted(sizes)} pairs; expected one number, not 0")
        for name, metres, pixels in zip(self.samples, self.metres, self.pixels, strict=True):
            if not len(metres) or len(metres) != len(pixels):
                raise MeasurementError(
                    f"matches on {self.dataset!r}: pair {name!r} has {len(metres)} errors in metres and {len(pixels)} "
                    "in pixels"
                )

    def __len__(self) -> int:
        return len(self.angles)

    def within(self, angles: tuple[float, float]) -> Ints:
        """Return the positions of the pairs in the bin between two `angles`, in degrees.

        The bin includes its first angle, and the second only if it is the last of the edges.
        """
        low, high = angles
        below = self.angles <= high if high == self.edges[-1] else self.angles < high
        return np.flatnonzero((self.angles >= low) & below)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointMatches:
    """Errors of M keypoints matched in P pairs of images.

    errors: (M,) distances over the larger side of the target object's box. pair_of: (M,) positions of pairs.
    sources: (P,) positions of source images; classes: (P,) positions in `class_names`.
    viewpoints: (P,) change of viewpoint, 0, 1 or 2, or -1 if unknown.

    Raises:
        MeasurementError: no keypoint is given, or lengths disagree.
    """

    dataset: str
    errors: Floats
    pair_of: Ints
    sources: Ints
    classes: Ints
    viewpoints: Ints
    class_names: tuple[str, ...]
    provenance: Provenance = field(default_factory=Provenance)

    def __post_init__(self) -> None:
        where = f"keypoints on {self.dataset!r}"
        if not len(self.errors) or len(self.errors) != len(self.pair_of):
            raise MeasurementError(f"{where}: {len(self.errors)} errors of {len(self.pair_of)} keypoints")
        if not len(self.sources) == len(self.classes) == len(self.viewpoints) > int(self.pair_of.max()):
            raise MeasurementError(f"{where}: sources, classes and viewpoints must all have one value per pair")

    def __len__(self) -> int:
        return len(self.errors)


def bin_name(edges: tuple[float, float]) -> str:
    """Return the name of a bin of view angles.

    >>> bin_name((30, 60))
    '30-60'
    """
    low, high = edges
    return f"{low:g}-{high:g}"
