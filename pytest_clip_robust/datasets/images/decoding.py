"""Decode image files to RGB."""

from __future__ import annotations

import hashlib
import io
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.errors import ClipRobustError, DataError


def decode(content: bytes, *, crop_border: int = 0) -> Image.Image:
    """Return the image as RGB without its outermost `crop_border` pixels on every side.

    Raises:
        DataError: Pillow cannot read these bytes as an image, or the image is too large or too small.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow reads these files anyway
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(content)).convert("RGB")
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise DataError(f"it has more than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,} pixels: shrink it") from None
    except Exception as error:  # decoders raise any exception on damaged bytes
        reason = "Pillow does not know its format" if isinstance(error, UnidentifiedImageError) else error
        raise DataError(f"it cannot be decoded ({' '.join(str(reason).split())}): replace or remove it") from error
    if min(image.size) <= 2 * crop_border:
        raise DataError(f"a border of {crop_border} pixels leaves nothing of its {image.width}x{image.height} pixels")
    return ImageOps.crop(image, crop_border) if crop_border else image


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
