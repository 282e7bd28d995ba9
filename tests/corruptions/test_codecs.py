from __future__ import annotations

import io

import av
import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.corruptions import bitstream, video
from pytest_clip_robust.corruptions.registry import corrupt, generator
from pytest_clip_robust.names import SEVERITIES


def photograph(size=96, seed=0):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    light = 0.5 + 0.3 * np.sin(9 * x + seed) * np.cos(7 * y) + rng.normal(0, 0.04, (3, size, size))
    return torch.from_numpy((light.clip(0, 1) * 255).astype(np.uint8))[None]


def frame_of(rgb):
    pixels = rgb[0].permute(1, 2, 0).contiguous().numpy()
    return av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(format="yuv420p")


@pytest.mark.parametrize("kind", ["h265_crf", "h265_abr"])
def test_coarser_compression_is_farther_from_the_image(kind):
    rgb = photograph()
    away = [(corrupt(rgb, kind, s, seeds=[0]).float() - rgb).square().mean().item() for s in SEVERITIES]
    assert away == sorted(away)
    assert away[0] < 100


@pytest.mark.parametrize("bits_per_pixel", [1.1, 0.6, 0.3])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_search_meets_the_bit_rate(bits_per_pixel, seed):
    budget = bits_per_pixel * 96 * 96
    packets = video._encode_within(frame_of(photograph(seed=seed)), budget, first=36)
    assert 8 * sum(packet.size for packet in packets) == pytest.approx(budget, rel=0.35)


def test_a_budget_that_cannot_be_met_takes_the_coarsest_quantiser():
    frame = frame_of(photograph())
    coarsest = sum(packet.size for packet in video._encode(frame, f"qp={video.COARSEST}"))
    assert sum(packet.size for packet in video._encode_within(frame, 1.0, first=36)) == coarsest


def test_the_stream_is_h265():
    (packet, *_) = video._encode(frame_of(photograph()), "crf=30")
    decoder = av.CodecContext.create("hevc", "r")
    assert len([*decoder.decode(packet), *decoder.decode(None)]) == 1


def test_a_missing_encoder_is_named(monkeypatch):
    class Refusing:
        @staticmethod
        def create(*_):
            raise av.codec.codec.UnknownCodecError("libx265")

    monkeypatch.setattr(video.av, "CodecContext", Refusing)
    with pytest.raises(Exception, match="libx265 is not among the codecs of PyAV"):
        corrupt(photograph(), "h265_crf", 1, seeds=[0])


def test_flips_change_entropy_coded_bits_only():
    image = photograph()[0].permute(1, 2, 0).contiguous().numpy()
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=bitstream.QUALITY, restart_marker_rows=1)
    before = bytearray(buffer.getvalue())
    after = bitstream._flip(bytearray(before), 12, generator("bit_error", 0))
    changed = [i for i in range(len(before)) if before[i] != after[i]]
    assert len(changed) == 12
    start = before.index(b"\xff\xda")
    assert min(changed) > start + 10
    assert before.count(b"\xff") == after.count(b"\xff")
    assert all(before[i - 1] != 0xFF for i in changed)


def test_damage_of_a_lower_severity_is_part_of_a_higher_one():
    stream = bytearray(b"\xff\xda\x00\x02" + bytes(range(1, 200)) + b"\xff\xd9")
    few, many = (bitstream._flip(bytearray(stream), n, generator("bit_error", 3)) for n in (5, 20))
    spoilt = [{i for i in range(len(stream)) if stream[i] != one[i]} for one in (few, many)]
    assert len(spoilt[0]) == 5
    assert spoilt[0] < spoilt[1]


def test_damage_ends_with_its_row():
    rgb = photograph(224)
    image = rgb[0].permute(1, 2, 0).contiguous().numpy()
    whole = bitstream._damage(image, 0, generator("bit_error", 0)).astype(int)
    spoilt = bitstream._damage(image, 1, generator("bit_error", 0))
    rows = np.flatnonzero(np.abs(spoilt - whole).max(axis=(1, 2)) > 12)
    assert 0 < len(rows) <= 18
