"""3D common corruptions: (rgb, depth, severity, seed) -> rgb, on torch tensors.

The kinds are those of ImageNet-3DCC (Kar et al. 2022), written from their definitions. Pure functions: no state, no
global random numbers.
"""

from __future__ import annotations

from pytest_clip_robust.corruptions.registry import VERSION, corrupt, needs_depth

__all__ = ["VERSION", "corrupt", "needs_depth"]
