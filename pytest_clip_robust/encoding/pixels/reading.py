"""Reading of images in worker processes: decoded and resized for the model, or taken from the pixel cache.

Decoding is ``PIL.Image.open(...).convert("RGB")``, as in open_clip's own evaluation: no EXIF rotation, no JPEG draft
mode, alpha dropped. Then comes the model's own `preprocess`, so that pixels equal the training code's bit for bit.
"""

from __future__ import annotations

import multiprocessing
import pickle
import sys
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from pytest_clip_robust.datasets.images.decoding import Alter, read_image
from pytest_clip_robust.datasets.images.image_set import ImageSet
from pytest_clip_robust.encoding.pixels.block import DamagedBlockError
from pytest_clip_robust.encoding.pixels.cache import PixelShelf
from pytest_clip_robust.errors import ConfigError, DataError
from pytest_clip_robust.system.notice import Notice, log_notice
from pytest_clip_robust.system.text import printable

MORE_WORKERS_THAN_CORES = "This DataLoader will create"
"""Start of a torch warning about the user's choice; torch releases differ in when they show it."""


class PixelBatch(NamedTuple):
    """The `pixels` of the B images at `positions` of their set, (B, ...) with the shape that `preprocess` returns.

    decoded: whether each image was decoded, not taken from the pixel cache. damages: images damaged in the cache.
    A tuple, because DataLoader moves tensors in tuples into pinned memory.
    """

    positions: list[int]
    pixels: torch.Tensor
    decoded: list[bool]
    damages: list[Damage]


class Damage(NamedTuple):
    """Why the image with this `digest` could not be read from the pixel cache."""

    digest: str
    reason: str


class _Item(NamedTuple):
    position: int
    pixels: torch.Tensor
    decoded: bool
    damage: Damage | None = None


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why an image has no pixels; a value, because an exception from a worker arrives wrapped in its traceback."""

    reason: str


def read_pixels(
    images: ImageSet,
    positions: Sequence[int],
    preprocess: Callable[[Image.Image], Any],
    *,
    batch_size: int,
    workers: int,
    pin_memory: bool = False,
    dtype: torch.dtype = torch.float32,
    alter: Alter | None = None,
    shelf: PixelShelf | None = None,
    notice: Notice = log_notice,
) -> Iterator[PixelBatch]:
    """Yield the images at `positions` in order, `batch_size` at a time; `workers` processes read ahead.

    `alter` is applied to decoded images, before `preprocess`. Images on the `shelf` are not read; the others are added
    to it.

    Raises:
        DataError: an image cannot be read, decoded or stacked; the message names set and sample.
        ConfigError: a worker process was killed.
    """
    pixels = _Pixels(images, positions, preprocess, dtype=dtype, alter=alter, shelf=shelf)
    try:
        for batch in _batches(pixels, batch_size=batch_size, workers=workers, pin_memory=pin_memory, notice=notice):
            if shelf is not None:
                _keep(batch, images, shelf)
            yield batch
    finally:
        if shelf is not None:
            shelf.flush()


def read_images(
    images: ImageSet,
    positions: Sequence[int],
    *,
    batch_size: int,
    workers: int,
    alter: Alter | None = None,
    notice: Notice = log_notice,
) -> Generator[list[Image.Image], None, None]:
    """Yield the images at `positions` in order, `batch_size` at a time and whole; `workers` processes read ahead.

    Raises:
        DataError: an image cannot be read, decoded or altered; the message names set and sample.
        ConfigError: a worker process was killed.
    """
    whole = _Images(images, positions, np.asarray, dtype=torch.uint8, alter=alter, shelf=None)
    for batch in _batches(whole, batch_size=batch_size, workers=workers, pin_memory=False, notice=notice):
        yield [Image.fromarray(pixels.numpy()) for pixels in batch]


class _Pixels(Dataset[Any]):
    """The data set that worker processes read: position -> pixels, or the reason why they cannot be read."""

    def __init__(
        self,
        images: ImageSet,
        positions: Sequence[int],
        preprocess: Callable[[Image.Image], Any],
        *,
        dtype: torch.dtype,
        alter: Alter | None,
        shelf: PixelShelf | None,
    ) -> None:
        self._images, self._positions = images, positions
        self._preprocess, self._dtype = preprocess, dtype
        self._alter, self._shelf = alter, shelf

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, index: int) -> _Item | _Refused:
        position = self._positions[index]
        found = self._kept(self._images.digests[position])
        if isinstance(found, torch.Tensor):
            return _Item(position, found, decoded=False)
        try:
            image = _read_altered(self._images, position, self._alter)
        except DataError as error:
            return _Refused(str(error))
        pixels = self._preprocess(image)
        if isinstance(pixels, np.ndarray) and not pixels.flags.writeable:
            pixels = pixels.copy()  # torch warns about each array that is not writeable
        return _Item(position, torch.as_tensor(pixels, dtype=self._dtype), decoded=True, damage=found)

    def collate(self, items: list[_Item | _Refused]) -> Any:
        """Make a batch of images; if one image was refused, so is the batch."""
        refused = next((item for item in items if isinstance(item, _Refused)), None)
        return refused or self._batch([item for item in items if isinstance(item, _Item)])

    def _batch(self, whole: list[_Item]) -> Any:
        """Return the stacked pixels, or the reason why they cannot be stacked."""
        shapes = {tuple(item.pixels.shape) for item in whole}
        if len(shapes) > 1 or len(next(iter(shapes))) != 3:
            return _Refused(
                f"{self._images.name}: preprocess returned shapes {sorted(shapes)}: "
                "expected one (C, H, W) for all images"
            )
        return PixelBatch(
            [item.position for item in whole],
            torch.stack([item.pixels for item in whole]),
            [item.decoded for item in whole],
            [item.damage for item in whole if item.damage is not None],
        )

    @property
    def name(self) -> str:
        """The set's name, for messages."""
        return self._images.name

    def _kept(self, digest: str) -> torch.Tensor | Damage | None:
        """Return the image's pixels from the shelf, the damage found there, or None if the image is not on it."""
        if self._shelf is None or digest not in self._shelf:
            return None
        try:
            return torch.from_numpy(self._shelf.read(digest))
        except DamagedBlockError as error:
            return Damage(digest, str(error))
        except OSError:
            return None  # another process removed the block


class _Images(_Pixels):
    """The data set of images of any sizes."""

    def _batch(self, whole: list[_Item]) -> Any:
        """Return the pixels of each image."""
        return [item.pixels for item in whole]


def _read_altered(images: ImageSet, position: int, alter: Alter | None) -> Image.Image:
    """Return an image of a set, decoded and altered.

    Raises:
        DataError: it cannot be read, decoded or altered; the message names set and sample.
    """
    try:
        image = read_image(images, position)
        return image if alter is None else alter(image, position)
    except DataError as error:
        raise DataError(f"{images.name}: image {printable(images.samples[position])!r}: {error}") from error


def _keep(batch: PixelBatch, images: ImageSet, shelf: PixelShelf) -> None:
    """Add decoded images to the shelf, and remove damaged ones from it."""
    for damage in batch.damages:
        shelf.set_aside(damage.digest, damage.reason)
    for position, pixels, decoded in zip(batch.positions, batch.pixels.numpy(), batch.decoded, strict=True):
        if decoded:
            shelf.put(images.digests[position], pixels)


def _batches(pixels: _Pixels, *, batch_size: int, workers: int, pin_memory: bool, notice: Notice) -> Iterator[Any]:
    """Yield what `pixels` makes of each batch.

    Raises:
        DataError: an image was refused.
        ConfigError: a worker process was killed.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=MORE_WORKERS_THAN_CORES, category=UserWarning)
        loader = _loader(pixels, batch_size=batch_size, workers=workers, pin_memory=pin_memory, notice=notice)
    for batch in _run(loader, pixels.name):
        if isinstance(batch, _Refused):
            raise DataError(batch.reason)
        yield batch


def _loader(pixels: _Pixels, *, batch_size: int, workers: int, pin_memory: bool, notice: Notice) -> DataLoader[Any]:
    batches = -(-len(pixels) // batch_size)
    # With a single batch, worker processes have nothing to overlap with.
    processes = min(workers, batches) if batches > 1 else 0
    context = _start_method(pixels, notice) if processes else None
    return DataLoader(
        pixels,
        batch_size=batch_size,
        num_workers=processes if context else 0,
        multiprocessing_context=context,
        collate_fn=pixels.collate,
        pin_memory=pin_memory,
    )


def _start_method(pixels: _Pixels, notice: Notice) -> str | None:
    """Return the start method of worker processes, or None if they cannot be started.

    Fork on Linux: it takes milliseconds, where spawn imports torch again, and readers and transforms do not have to be
    picklable. It is safe here because workers use neither the GPU nor Arrow's threads. Spawn elsewhere, because system
    libraries can break after a fork.
    """
    if sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods():
        return "fork"
    try:
        pickle.dumps(pixels)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        notice(f"images are decoded without worker processes: preprocess cannot be pickled ({error})")
        return None
    return "spawn"


def _run(loader: DataLoader[Any], name: str) -> Iterator[Any]:
    """Start the workers, yield batches, and stop the workers in any case.

    Raises:
        ConfigError: a worker was killed.
    """
    with warnings.catch_warnings():
        # Python 3.12 and newer warn about forking a process with threads; _start_method explains why it is safe here.
        warnings.filterwarnings("ignore", message=".*use of fork", category=DeprecationWarning)
        warnings.filterwarnings("ignore", message=MORE_WORKERS_THAN_CORES, category=UserWarning)
        batches = iter(loader)
    try:
        yield from batches
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker"):
            raise
        raise ConfigError(
            f"{name}: a worker process that decodes images was killed, possibly because (shared) memory ran out: "
            "try --clip-workers 0 or a smaller --clip-batch-size"
        ) from error
    finally:
        # Torch stops its workers when the iterator is deleted, but a worker's traceback can keep it alive.
        getattr(batches, "_shutdown_workers", int)()
