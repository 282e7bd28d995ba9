"""Outputs of encoders and heads, torch tensors or NumPy arrays, in one form."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def float_array(values: Any) -> NDArray[np.float32]:
    """Return `values`, a tensor on any device and of any precision or an array, as a float32 array of its shape.

    >>> import torch
    >>> float_array(torch.ones(1, 2, dtype=torch.bfloat16))
    array([[1., 1.]], dtype=float32)
    """
    if hasattr(values, "detach"):  # a tensor; importing torch to ask would take seconds
        values = values.detach().float().cpu().numpy()
    return np.asarray(values, dtype=np.float32)
