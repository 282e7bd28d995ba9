"""The image processor of a model of transformers, as a function of one image."""

from __future__ import annotations

import json
from typing import Any

import torch
import transformers
from PIL import Image

MAJOR = int(transformers.__version__.partition(".")[0])


class Pixels:
    """Turn one image into the pixels that its model takes; it holds the processor alone, for processes that decode.

    Images are (3, H, W). For models that take patches in the image's own aspect ratio (SigLIP 2 NaFlex) they are
    (1, N, D + 3): N patches of D values, each with its mask, and with the numbers of rows and columns of the image.
    """

    def __init__(self, processor: Any) -> None:
        self._processor = processor
        # Without it, the processors of transformers 4 take an image of 1 or 3 rows for one with channels first.
        slow = MAJOR < 5 and not type(processor).__name__.endswith("Fast")
        self._options = {"input_data_format": "channels_last"} if slow else {}

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Turn one RGB image into float32 pixels."""
        found = self._processor(images=image, return_tensors="pt", **self._options)
        pixels: torch.Tensor = found["pixel_values"][0]
        if "spatial_shapes" not in found:
            return pixels
        mask = found["pixel_attention_mask"][0].to(pixels.dtype)[:, None]
        shape = found["spatial_shapes"][0].to(pixels.dtype).expand(len(pixels), 2)
        return torch.cat([pixels, mask, shape], dim=1)[None]

    def settings(self) -> object:
        """Return the processor's settings, its class, and the major version of transformers, as JSON."""
        settings = json.loads(json.dumps(self._processor.to_dict(), sort_keys=True, default=str))
        kept = {key: value for key, value in settings.items() if key not in VOLATILE}
        return [kept, type(self._processor).__qualname__, MAJOR]

    @property
    def mean(self) -> tuple[float, ...]:
        """The mean that is subtracted from RGB in [0, 1]; zeros if none is."""
        return tuple(self._processor.image_mean) if self._normalises else (0.0, 0.0, 0.0)

    @property
    def deviation(self) -> tuple[float, ...]:
        """The standard deviation that RGB in [0, 1] is divided by; ones if it is not."""
        return tuple(self._processor.image_std) if self._normalises else (1.0, 1.0, 1.0)

    @property
    def _normalises(self) -> bool:
        return bool(getattr(self._processor, "do_normalize", False))


VOLATILE = frozenset(
    {
        "_name_or_path",
        "name_or_path",
        "_commit_hash",
        "processor_class",
        "image_processor_type",
        "feature_extractor_type",
    }
    | {"auto_map", "device", "return_tensors", "data_format", "input_data_format", "disable_grouping"}
)
"""Entries of a processor's settings that say where it came from, or do not shape pixels."""


def model_inputs(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the arguments of ``get_image_features`` for a batch of what `Pixels` returned."""
    if pixels.shape[1] == 3:
        return {"pixel_values": pixels}
    patches = pixels[:, 0, :, :-3]
    return {
        "pixel_values": patches,
        "pixel_attention_mask": pixels[:, 0, :, -3].to(torch.int32),
        "spatial_shapes": pixels[:, 0, 0, -2:].to(torch.int64),
    }
