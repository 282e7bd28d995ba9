"""Camera intrinsics of images, viewing rays, and the angle between surfaces and rays."""

from __future__ import annotations

import torch
from torch import Tensor

from pytest_clip_robust.core.camera import check_camera_matrix

DEFAULT_FOCAL = 1.2
"""Default focal length over the longer side: a field of view of 45 degrees, as of a phone or a normal lens."""


def usual_intrinsics(height: int, width: int) -> Tensor:
    """Return the (3, 3) intrinsics of a camera with a usual field of view; the first pixel's centre is (0.5, 0.5)."""
    focal = DEFAULT_FOCAL * max(height, width)
    return torch.tensor([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], dtype=torch.float32)


def check_intrinsics(intrinsics: Tensor, height: int, width: int) -> None:
    """Check (B, 3, 3) intrinsics for images of this size.

    Raises:
        DataError: a matrix is not that of a pinhole camera, or its principal point is outside the image.
    """
    for matrix in intrinsics.tolist():
        check_camera_matrix(matrix, height, width)


def rays(intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Return x / z and y / z of the ray through each pixel's centre, (B, 2, H, W)."""
    x = torch.arange(width, device=intrinsics.device) + 0.5
    y = torch.arange(height, device=intrinsics.device) + 0.5
    fx, fy, cx, cy = (intrinsics[:, i, j, None, None] for i, j in ((0, 0), (1, 1), (0, 2), (1, 2)))
    batch = len(intrinsics)
    across = ((x - cx) / fx).expand(batch, height, width)
    down = ((y[:, None] - cy) / fy).expand(batch, height, width)
    return torch.stack([across, down], dim=1)


def facing(depth: Tensor, intrinsics: Tensor, *, reach: int) -> Tensor:
    """Return the (B, H, W) cosine between each surface's normal and its direction to the camera, in (0, 1].

    On a plane, the inverse depth w is linear in pixels: ``n . ray = h w`` with normal n and distance h. So n is
    ``(fx dw/dx, fy dw/dy, w - (x - cx) dw/dx - (y - cy) dw/dy)`` and the cosine is ``w / |n| / |ray|``. Slopes are
    taken over `reach` pixels, on the side where they are smaller, so that an object's edge does not count as a slope.
    """
    height, width = depth.shape[-2:]
    fx, fy = intrinsics[:, 0, 0, None, None], intrinsics[:, 1, 1, None, None]
    inverse = _smooth(1 / depth, reach=reach)
    across, down = rays(intrinsics, height, width).unbind(dim=1)
    x, y = fx * _slope(inverse, reach, dim=2), fy * _slope(inverse, reach, dim=1)
    z = inverse - across * x - down * y
    normal, ray = (x**2 + y**2 + z**2).sqrt(), (across**2 + down**2 + 1).sqrt()
    return (inverse / (normal * ray)).clamp(0, 1)


def _slope(values: Tensor, reach: int, *, dim: int) -> Tensor:
    size = values.shape[dim]
    position = torch.arange(size, device=values.device)
    after = values.index_select(dim, (position + reach).clamp(max=size - 1)) - values
    before = values - values.index_select(dim, (position - reach).clamp(min=0))
    inner = (position >= reach) if dim == 2 else (position >= reach)[:, None]
    outer = (position < size - reach) if dim == 2 else (position < size - reach)[:, None]
    use_after = ~inner | (outer & (after.abs() < before.abs()))
    return torch.where(use_after, after, before) / reach


def _smooth(inverse: Tensor, *, reach: int) -> Tensor:
    """Average over neighbours whose inverse depth differs by less than 5 %, along rows and then columns.

    Neighbours count in pairs, at equal distances on both sides, so that the average of a plane is the plane.
    """
    for dim in (2, 1):
        size = inverse.shape[dim]
        position = torch.arange(size, device=inverse.device)
        total, weight = inverse.clone(), torch.ones_like(inverse)
        for shift in range(1, reach + 1):
            before = inverse.index_select(dim, (position - shift).clamp(min=0))
            after = inverse.index_select(dim, (position + shift).clamp(max=size - 1))
            inner = (position >= shift) & (position < size - shift)
            same = inner if dim == 2 else inner[:, None]
            for near in (before, after):
                same = same & ((near - inverse).abs() < inverse / 20)
            total += same * (before + after)
            weight += 2 * same
        inverse = total / weight
    return inverse
