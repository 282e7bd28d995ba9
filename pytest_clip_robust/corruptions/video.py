"""Video compression: the image as a key frame of an H.265 stream, encoded by PyAV and libx265."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pytest_clip_robust.errors import ConfigError

RATE_FACTOR = (28, 31, 34, 37, 40)
BITS_PER_PIXEL = (1.1, 0.85, 0.62, 0.42, 0.3)

if TYPE_CHECKING:
    Packet = av.Packet[Any]
    Encode = Callable[[av.VideoFrame], list[Packet]]

COARSEST = 51
FIRST_GUESS = (31, 33, 36, 40, 43)
"""Quantiser that reaches the bit rate for the median of photographs, by severity."""

STEPS_PER_OCTAVE = 6
"""A quantiser coarser by this number has twice the step size and takes about half the bits."""

ATTEMPTS = 4
CLOSE_ENOUGH = 0.15
"""Accepted error of the number of bits, in octaves."""

BLOCK = 16
SETTINGS = "pools=none:frame-threads=1:wpp=0:pmode=0:pme=0:rc-lookahead=0:bframes=0:ctu=16:info=0:log-level=none"
"""One thread and no lookahead, so that the encoder's decisions depend on the pixels only."""


def h265_crf(rgb: Tensor, severity: int) -> Tensor:
    """Compress at a constant rate factor, every image to about the same quality."""
    return _each(rgb, lambda frame: _encode(frame, f"crf={RATE_FACTOR[severity - 1]}"))


def h265_abr(rgb: Tensor, severity: int) -> Tensor:
    """Compress to an average bit rate, every image to about the same number of bits per pixel."""
    budget = BITS_PER_PIXEL[severity - 1] * rgb.shape[-2] * rgb.shape[-1]
    return _each(rgb, lambda frame: _encode_within(frame, budget, first=FIRST_GUESS[severity - 1]))


def _encode_within(frame: av.VideoFrame, bits: float, *, first: int) -> list[Packet]:
    """Encode with the quantiser that takes about `bits`; x265's own rate control needs seconds of film to settle."""
    quantiser = first
    tried: dict[int, tuple[float, list[Packet]]] = {}
    while len(tried) < ATTEMPTS and quantiser not in tried:
        packets = _encode(frame, f"qp={quantiser}")
        octaves = math.log2(8 * sum(packet.size for packet in packets) / bits)
        tried[quantiser] = octaves, packets
        if abs(octaves) < CLOSE_ENOUGH:
            break
        quantiser = _next_guess({known: over for known, (over, _) in tried.items()}, quantiser)
    return min(tried.values(), key=lambda one: abs(one[0]))[1]


def _next_guess(over: dict[int, float], last: int) -> int:
    """Return the next quantiser: by the usual slope until two enclose the target, then half-way between them."""
    too_fine = [quantiser for quantiser, octaves in over.items() if octaves > 0]
    too_coarse = [quantiser for quantiser, octaves in over.items() if octaves <= 0]
    if too_fine and too_coarse:
        return (max(too_fine) + min(too_coarse)) // 2
    step = STEPS_PER_OCTAVE * over[last]
    return min(max(last + math.ceil(step) if step > 0 else last + math.floor(step), 1), COARSEST)


def _each(rgb: Tensor, encode: Encode) -> Tensor:
    images = [_recode(one, encode) for one in rgb.permute(0, 2, 3, 1).cpu().numpy()]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().to(rgb.device)


def _recode(image: NDArray[np.uint8], encode: Encode) -> NDArray[np.uint8]:
    """Encode and decode one (H, W, 3) image, padded to whole blocks in between."""
    height, width = image.shape[:2]
    padded = np.pad(image, ((0, -height % BLOCK), (0, -width % BLOCK), (0, 0)), mode="edge")
    frame = av.VideoFrame.from_ndarray(padded, format="rgb24").reformat(format="yuv420p")
    packets = encode(frame)
    decoder = av.CodecContext.create("hevc", "r")
    decoder.thread_count = 1
    decoded = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.asarray(decoded[0].to_ndarray(format="rgb24")[:height, :width], np.uint8)


def _encode(frame: av.VideoFrame, control: str) -> list[Packet]:
    try:
        encoder = av.CodecContext.create("libx265", "w")
    except av.codec.codec.UnknownCodecError as error:
        raise ConfigError(
            "libx265 is not among the codecs of PyAV here: install its wheel (pip install --only-binary av av), "
            "or leave h265_abr and h265_crf out of the profile's corruptions.kinds"
        ) from error
    encoder.width, encoder.height = frame.width, frame.height
    encoder.pix_fmt, encoder.framerate = "yuv420p", Fraction(25)
    encoder.options = {"preset": "ultrafast", "x265-params": f"{SETTINGS}:{control}"}
    return [*encoder.encode(frame), *encoder.encode(None)]
