"""Convolutional towers made faster: normalisation and padding in the convolutions, and channels-last weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import torch
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.norm_act import BatchNormAct2d
from timm.layers.padding import pad_same_arg
from torch import nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.nn.utils.parametrize import is_parametrized

TOLERANCES = {"fp32": 1e-4, "bf16": 0.05, "fp16": 0.01}
"""The largest change of an output, relative to its norm, that counts as rounding, by precision."""


def speed_up_convolutions(model: nn.Module, run: Callable[[], torch.Tensor], *, precision: str) -> int:
    """Change `model`, which is in evaluation mode, so that its convolutions run faster; return how many were folded.

    In evaluation mode batch normalisation multiplies and shifts each channel, which the convolution before it can do
    itself with other weights (Markuš 2018, "Fusing batch normalization and convolution in runtime"). On a CPU, folded
    convolutions with TensorFlow's padding make no padded copies either. `run` passes a probe through the model and
    returns its output. It is used to find the pairs, and to check the result: if the output changes by more than
    rounding, nothing is changed. Parameters that are not fp32 are left as they are.

    docs/performance.md says how much faster an EfficientNet-Lite0 is on a CPU.
    """
    for one in model.modules():
        if isinstance(one, nn.Conv2d):
            one.to(memory_format=torch.channels_last)
    if not any(isinstance(one, nn.BatchNorm2d) for one in model.modules()):
        return 0
    try:
        with torch.inference_mode():
            before, pairs = _pairs(model, run)
    except Exception:  # noqa: BLE001 - models raise errors of many kinds, and the checks of the model report them
        return 0
    if not pairs:
        return 0
    originals = {name: model.get_submodule(name) for pair in pairs for name in pair}
    for convolution, norm in pairs:
        folded = fuse_conv_bn_eval(cast("nn.Conv2d", originals[convolution]), cast("nn.BatchNorm2d", originals[norm]))
        _replace(model, convolution, _without_copies(folded))
        _replace(model, norm, _behind(originals[norm]))
    with torch.inference_mode():
        if (run() - before).norm() <= TOLERANCES[precision] * before.norm():
            return len(pairs)
    for name, module in originals.items():
        _replace(model, name, module)
    return 0


def _pairs(model: nn.Module, run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, list[tuple[str, str]]]:
    """Return the output of `run`, and the names of the convolutions and norms that it called once, one on the other."""
    calls: Counter[str] = Counter()
    outputs: dict[int, tuple[str, torch.Tensor]] = {}
    pairs: list[tuple[str, str]] = []

    def after(name: str) -> Callable[[nn.Module, Any, torch.Tensor], None]:
        def hook(_: nn.Module, __: Any, output: torch.Tensor) -> None:
            calls[name] += 1
            outputs[id(output)] = (name, output)  # the tensor is kept, so that its id is not given to another

        return hook

    def ahead(name: str) -> Callable[[nn.Module, Any], None]:
        def hook(_: nn.Module, inputs: Any) -> None:
            calls[name] += 1
            if inputs and (found := outputs.get(id(inputs[0]))) is not None:
                pairs.append((found[0], name))

        return hook

    handles = [
        module.register_forward_hook(after(name)) if isinstance(module, nn.Conv2d)
        else module.register_forward_pre_hook(ahead(name))
        for name, module in model.named_modules() if _can_fold(module)
    ]  # fmt: skip
    try:
        output = run()
    finally:
        for handle in handles:
            handle.remove()
    return output, [pair for pair in pairs if all(calls[name] == 1 for name in pair)]


def _can_fold(module: nn.Module) -> bool:
    # Subclasses may compute something else of the same weights, such as convolutions with standardised ones.
    if type(module) in {nn.Conv2d, Conv2dSame}:
        return not is_parametrized(module) and module.weight.dtype == torch.float32
    return type(module) in {nn.BatchNorm2d, BatchNormAct2d} and module.running_mean is not None


def _replace(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _behind(norm: nn.Module) -> nn.Module:
    """Return what a norm does after it normalised: timm's have an activation function."""
    return nn.Sequential(norm.drop, norm.act) if isinstance(norm, BatchNormAct2d) else nn.Identity()


def _without_copies(convolution: nn.Conv2d) -> nn.Conv2d:
    # On a GPU, copies are cheap, and kernels of unusual sizes are slow.
    if not isinstance(convolution, Conv2dSame) or convolution.dilation != (1, 1) or convolution.weight.is_cuda:
        return convolution
    return PadsInside(convolution)


class PadsInside(nn.Conv2d):
    """A convolution with TensorFlow's SAME padding that does not copy its input into a larger, padded one.

    SAME padding can have one more row below the image than above it, and one more column on the right. torch pads both
    sides equally, so both get the larger number, and a first row or column of zeros in the kernel undoes the excess.
    """

    def __init__(self, convolution: Conv2dSame) -> None:
        """Take the place of `convolution`, which has no dilation, with the same parameters."""
        super().__init__(
            convolution.in_channels,
            convolution.out_channels,
            convolution.kernel_size,  # type: ignore[arg-type]
            convolution.stride,  # type: ignore[arg-type]
            groups=convolution.groups,
            device="meta",
        )
        self.weight, self.bias = convolution.weight, convolution.bias
        self.train(convolution.training)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the (B, C', ceil(H / stride), ceil(W / stride)) output for a (B, C, H, W) input."""
        left, right, above, below = pad_same_arg(list(pixels.shape[-2:]), list(self.kernel_size), list(self.stride))
        kernel = functional.pad(self.weight, (right - left, 0, below - above, 0))
        return functional.conv2d(pixels, kernel, self.bias, self.stride, (below, right), groups=self.groups)
