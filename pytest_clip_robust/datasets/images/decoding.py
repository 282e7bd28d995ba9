"""Decode image files to RGB."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import ClipRobustError, DataError

Alter = Callable[[Image.Image, int], Image.Image]
"""Returns an altered copy of a decoded image, given its position in the set; raises a DataError if it cannot."""

FORMATS_OF_FULL_RANGE = frozenset({"PNG", "PPM", "JPEG2000"})
"""Formats whose 16-bit values Pillow returns over the whole range 0 to 65535, also those of fewer bits."""

TIFF_BITS, TIFF_PHOTOMETRIC, TIFF_WHITE_IS_ZERO = 258, 262, 0
WHOLE_RANGE = (1 << 16) - 1
LEAST_PLAUSIBLE = 1 << 12
"""A 16-bit image without a value this high more likely holds values of another range than a black picture."""

LARGEST_ASPECT = 200
"""Models resize the shorter side, so that the pixels of an image grow with the ratio of its sides."""


def decode(content: bytes, *, crop_border: int = 0) -> Image.Image:
    """Return the image as RGB without its outermost `crop_border` pixels on every side.

    Raises:
        DataError: Pillow cannot read these bytes as an image, or the image is too large or too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow reads these files anyway
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = to_rgb(Image.open(io.BytesIO(content)))
    except DataError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(f"it has more than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,} pixels: shrink it") from None
    except Exception as error:  # decoders raise any exception on damaged bytes
        reason = "Pillow does not know its format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"it cannot be decoded ({' '.join(str(reason).split())}): replace or remove it") from error
    if min(image.size) <= 2 * crop_border:
        raise DataError(f"a border of {crop_border} pixels leaves nothing of its {image.width}x{image.height} pixels")
    if crop_border:
        image = ImageOps.crop(image, crop_border)
    if max(image.size) > LARGEST_ASPECT * min(image.size):
        raise DataError(
            f"one side of its {image.width}x{image.height} pixels is over {LARGEST_ASPECT} times the other, so that "
            "resizing it would take all memory: crop or remove it"
        )
    return image


def to_rgb(image: Image.Image) -> Image.Image:
    """Return an opened image as 8-bit RGB, with 16-bit grey scaled from its whole range.

    Pillow's own conversion cuts grey values off at 255, which turns 16-bit images white and fractions black.

    Raises:
        DataError: the file does not state the range of its values, or they do not fit the range that it states.
    """
    if not image.mode.startswith(("I", "F")):
        return image.convert("RGB")
    largest = _largest_value(image)
    if largest is None:
        raise DataError(
            f"its pixels are of mode {image.mode}, whose range the file does not state: convert it to 8 or 16 bits"
        )
    values = np.asarray(image).astype(np.int64)
    top = int(values.max())
    if largest == WHOLE_RANGE and 0 < top < LEAST_PLAUSIBLE:
        raise DataError(f"its 16-bit values are at most {top} of {largest}: convert it to 8 bits in its real range")
    if getattr(image, "tag_v2", {}).get(TIFF_PHOTOMETRIC) == TIFF_WHITE_IS_ZERO:
        values = largest - values
    return Image.fromarray(((values * 255 + largest // 2) // largest).astype(np.uint8)).convert("RGB")


def _largest_value(image: Image.Image) -> int | None:
    """Return the largest value that a grey image of more than 8 bits can have; None if it is not known."""
    if image.format in FORMATS_OF_FULL_RANGE and image.mode != "F":
        return WHOLE_RANGE
    if image.format == "TIFF" and image.mode.startswith("I;"):
        return int((1 << image.tag_v2[TIFF_BITS][0]) - 1)  # type: ignore[attr-defined]
    return None


def read_image(images: ImageSet, position: int) -> Image.Image:
    """Return an image of a set as RGB, without the set's border.

    Raises:
        DataError: the image cannot be read or decoded, or its file changed since the set was loaded; the message does
            not name the image.
    """
    try:
        content = images.read(position)
    except ClipRobustError as error:
        raise DataError(str(error)) from error
    except OSError as error:
        raise DataError(f"it cannot be read ({error.strerror or error})") from error
    if hashlib.sha256(content).hexdigest() != images.digests[position]:
        raise DataError("its bytes changed since the set was loaded: run again")
    return decode(content, crop_border=images.crop_border)
