"""Image corruptions as pure functions on torch tensors: (rgb, depth, severity, seed) -> rgb.

The kinds are those of ImageNet-3DCC (Kar et al. 2022), implemented from their definitions, without global state or
global random numbers.
"""
