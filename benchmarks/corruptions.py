"""Benchmark of the corruptions: milliseconds per 224 x 224 image on one core, for each kind at each severity.

    python benchmarks/corruptions.py               all kinds
    python benchmarks/corruptions.py flash fog_3d  some of them
    python benchmarks/corruptions.py --device cuda --batch 64

On the CPU, one thread works and its CPU time is counted, so that other processes disturb the result little. The image
is a smooth scene with texture and a step in depth, so that motion blur has holes to fill and codecs have detail to
encode.
"""

from __future__ import annotations

import argparse
import time

import torch

from pytest_clip_robust.corruptions.registry import corrupt
from pytest_clip_robust.names import CORRUPTION_KINDS, SEVERITIES

SIDE = 224


def main() -> None:
    """Print one row of a Markdown table per kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"any of: {', '.join(CORRUPTION_KINDS)} (default: all)"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=1, help="images per batch (default: 1)")
    parser.add_argument("--repeats", type=int, default=15, help="runs per timing; the fastest counts (default: 15)")
    options = parser.parse_args()
    unknown = [kind for kind in options.kinds if kind not in CORRUPTION_KINDS]
    if unknown:
        parser.error(f"unknown kind {unknown[0]!r}; expected some of: {', '.join(CORRUPTION_KINDS)}")
    torch.set_num_threads(1)
    rgb, depth = (part.expand(options.batch, *part.shape[1:]).to(options.device) for part in scene())
    print(f"torch {torch.__version__}, {options.device}, batches of {options.batch}; ms per image\n")
    print("| kind | " + " | ".join(map(str, SEVERITIES)) + " |\n|---|" + "---|" * len(SEVERITIES))
    for kind in options.kinds or CORRUPTION_KINDS:
        times = [fastest(rgb, depth, kind, severity, options.repeats) for severity in SEVERITIES]
        print(
            f"| {kind} | " + " | ".join(f"{1000 * seconds / options.batch:.1f}" for seconds in times) + " |", flush=True
        )


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return a (1, 3, 224, 224) image and its (1, 224, 224) depth: waves and noise on a floor, a disc in front."""
    y, x = torch.meshgrid(torch.linspace(0, 1, SIDE), torch.linspace(0, 1, SIDE), indexing="ij")
    noise = torch.randn(3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    light = 0.5 + 0.3 * torch.sin(12 * x) * torch.cos(9 * y) + 0.04 * noise
    disc = (x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.06
    depth = torch.where(disc, 1.2, 4 - 2 * y)
    return (light.clamp(0, 1) * 255).to(torch.uint8)[None], depth[None]


def fastest(rgb: torch.Tensor, depth: torch.Tensor, kind: str, severity: int, repeats: int) -> float:
    """Return the shortest time in seconds: CPU time on the CPU, wall-clock time on an accelerator."""
    clock = time.process_time if rgb.device.type == "cpu" else time.perf_counter
    found = []
    for _ in range(repeats + 1):
        start = clock()
        corrupt(rgb, kind, severity, seeds=range(len(rgb)), depth=depth)
        if rgb.is_cuda:
            torch.cuda.synchronize()
        found.append(clock() - start)
    return min(found[1:])


if __name__ == "__main__":
    main()
