"""Benchmark of dense correspondence: encode two 512 x 512 images and match all their points.

    python benchmarks/correspondence.py
    python benchmarks/correspondence.py --architecture ViT-B-16 --device cuda

All 16,384 points of each image take part, which is the largest problem that can occur. The table gives the time of the
whole pair, then of the matching alone, and compares the matching with a plain implementation in the same process:
upsample the features to the points, then multiply all pairs of points. The last column is the share of points for which
both find the same neighbour. Weights are random.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import open_clip
import torch
from torch.nn import functional

from pytest_clip_robust.encoding.dense.nearest import FeatureMap, Points, two_nearest
from pytest_clip_robust.models.dense import dense_encoder

SIDE, GRID = 512, 128
ROWS_AT_A_TIME = 1024
ARCHITECTURES = ("ViT-B-32", "ViT-B-16", "RN50", "convnext_base_w")


def main() -> None:
    """Print one row of a Markdown table per architecture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", action="append", help=f"default: {', '.join(ARCHITECTURES)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3, help="runs per timing; the fastest counts (default: 3)")
    options = parser.parse_args()
    device = options.device
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads; seconds\n")
    print(
        "| tower | features | pair | matching alone | plain matching | plain / ours | same neighbour |\n|---|"
        + "---|" * 6
    )
    pictures = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0)).to(device)
    for name in options.architecture or ARCHITECTURES:
        visual = open_clip.create_model(name, load_weights=False, device=device).eval().visual
        encode = dense_encoder(visual, mean=(0.5,) * 3, std=(0.5,) * 3)
        encoding, features = fastest(lambda encode=encode: encode_both(encode, pictures), options.repeats)
        kept = torch.arange(GRID * GRID, device=device)
        ours, found = fastest(lambda f=features, k=kept: two_nearest(*points_of(f, k)).index, options.repeats)
        plain, expected = fastest(lambda f=features, k=kept: nearest_plainly(*points_of(f, k)), options.repeats)
        same = float((found == expected).float().mean())
        seconds = f"{encoding + ours:.2f} | {ours:.2f} | {plain:.2f} | {plain / ours:.1f}"
        print(f"| {name} | {' x '.join(map(str, features.shape[1:]))} | {seconds} | {same:.2%} |", flush=True)


def encode_both(encode: Callable[[torch.Tensor], torch.Tensor], pictures: torch.Tensor) -> torch.Tensor:
    """Return the features of (2, 3, H, W) images, encoded one after the other as on a CPU."""
    with torch.inference_mode():
        return torch.cat([encode(pictures[:1]), encode(pictures[1:])])


def points_of(features: torch.Tensor, kept: torch.Tensor) -> list[Points]:
    """Return the points of two pictures that were not matched before."""
    return [Points(FeatureMap(one, (GRID, GRID)), kept) for one in features]


def nearest_plainly(source: Points, target: Points) -> torch.Tensor:
    """Return the index of the nearest target point for each source point, by multiplying all pairs of points."""
    upsampled = [
        functional.interpolate(points.picture.features[None], size=points.picture.size, mode="bicubic")[0]
        for points in (source, target)
    ]
    fine = [functional.normalize(one.flatten(1), dim=0) for one in upsampled]
    products = (part @ fine[1] for part in fine[0].T.split(ROWS_AT_A_TIME))
    return torch.cat([part.topk(2, dim=1).indices[:, 0] for part in products])


def fastest(run: Callable[[], torch.Tensor], repeats: int) -> tuple[float, torch.Tensor]:
    """Return the shortest time of `repeats` calls in seconds, and the result of the last call."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = run()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times), found


if __name__ == "__main__":
    main()
