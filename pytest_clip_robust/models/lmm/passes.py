"""Forward passes of a model, whole or behind a cached prefix, through both cache APIs of transformers."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.arithmetic import arithmetic
from pytest_clip_robust.system.quiet import quiet
from pytest_clip_robust.system.text import one_line

CACHE_NAMES = ("cache", "past_key_values")
"""The argument and output field of the cache: its name in new versions of transformers, which warn of the other."""
KEEP_NAMES = ("logits_to_keep", "num_logits_to_keep")
"""The argument for the number of last tokens whose logits are computed: in new versions, and before 4.50."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefix:
    """The result of a pass over one question with each of B images.

    scores: (B, V) log-probabilities of the token behind it. cache: B rows of keys and values; passes write into it.
    mask: (B, N), the tokens that it holds. shift: (B,) what is added to the positions of tokens behind it, or None.
    """

    scores: torch.Tensor
    cache: Any
    mask: torch.Tensor
    shift: torch.Tensor | None


class Passes:
    """The passes of one model, at the type of its parameters.

    taken: the names of the arguments that it takes. kept: the name of the cache in this version of transformers.
    """

    def __init__(self, model: Any, *, shifted: bool, device: str, where: str) -> None:
        self.taken = frozenset(inspect.signature(type(model).forward).parameters)
        self.kept = next((name for name in CACHE_NAMES if name in self.taken), CACHE_NAMES[-1])
        self._keep = next((name for name in KEEP_NAMES if name in self.taken), None)
        self._model, self._shifted, self._device, self._where = model, shifted, torch.device(device), where

    def prefix(self, inputs: Mapping[str, torch.Tensor]) -> Prefix:
        """Pass over one question with each of B images, and keep the cache.

        Raises:
            ModelError: the pass fails, or its numbers are not finite.
        """
        output = self._run(inputs, last=1, use_cache=True)
        mask = inputs["attention_mask"]
        shift = _shift(self._model, len(mask)).to(mask.device) if self._shifted else None
        return Prefix(scores=self._scores(output.logits[:, -1]), cache=output[self.kept], mask=mask, shift=shift)

    def behind(self, prefix: Prefix, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return (R, T, V) log-probabilities behind each of the (R, T) tokens, which continue copies of a prefix.

        The first R / B rows continue that of the first image, and so on.
        mask: what the tokens attend to; (R, N + T) with 1 for tokens of prefix and row, and 0 for padding.
        """
        rows, length = tokens.shape
        times = rows // len(prefix.mask)
        more: dict[str, Any] = {self.kept: copies(prefix.cache, times), "attention_mask": mask}
        if prefix.shift is not None:
            start = (prefix.mask.shape[1] + prefix.shift).repeat_interleave(times)
            more["position_ids"] = (start[:, None] + torch.arange(length, device=start.device)).expand(3, rows, length)
        return self._scores(self._run({"input_ids": tokens, **more}, last=length, use_cache=True).logits)

    def whole(self, inputs: Mapping[str, torch.Tensor], *, last: int) -> torch.Tensor:
        """Return (last, V) log-probabilities behind the last tokens of one row, by a pass without any cache."""
        return self._scores(self._run(inputs, last=last, use_cache=False).logits[0, -last:])

    def generated(self, inputs: Mapping[str, torch.Tensor], **options: Any) -> Any:
        """Return what the library's ``generate`` returns.

        Raises:
            ModelError: it fails.
        """
        return self._try(lambda: self._model.generate(**inputs, **options))

    def _run(self, inputs: Mapping[str, Any], *, last: int, use_cache: bool) -> Any:
        keep = {} if self._keep is None else {self._keep: last}
        return self._try(lambda: self._model(**inputs, use_cache=use_cache, **keep))

    def _try(self, work: Any) -> Any:
        try:
            # Half precision is that of the parameters, so nothing is left to autocast.
            with quiet(), torch.inference_mode(), arithmetic(self._device, "fp32"):
                return work()
        except torch.cuda.OutOfMemoryError as error:
            raise ModelError(
                f"{self._where}: a pass does not fit into the memory of {self._device}: {one_line(error)}; use half "
                "precision, or a smaller model"
            ) from error
        except Exception as error:  # models raise errors of many kinds
            tokens = "image" in str(error).lower() and "token" in str(error).lower()
            hint = (
                "; its processor writes another number of image tokens than the model has features: copy "
                "processor_config.json and preprocessor_config.json from the model that it was trained from"
            )
            raise ModelError(
                f"{self._where}: a pass fails: {type(error).__name__}: {one_line(error)}{hint if tokens else ''}"
            ) from error

    def _scores(self, logits: torch.Tensor) -> torch.Tensor:
        scores = logits.float().log_softmax(-1)
        # The logits of padding and of tokens that were never trained may be -inf; a NaN spoils its whole row.
        if scores.isnan().any():
            raise ModelError(
                f"{self._where}: its log-probabilities are NaN; check the weights, or try --clip-precision fp32 or bf16"
            )
        return scores


def copies(cache: Any, times: int) -> Any:
    """Return `times` copies of each row of a cache. Passes write into a cache, so that each needs one of its own."""
    copied = copy.deepcopy(cache)
    if times > 1:
        copied.batch_repeat_interleave(times)
    return copied


def bytes_per_token(config: Any, dtype: torch.dtype) -> int:
    """Return the size of keys and values of one token in all layers, in bytes.

    It is 524,288 for LLaVA-1.5-7B at half precision. Layers with a sliding window keep less of a long prefix.
    """
    text = config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    return int(2 * text.num_hidden_layers * heads * width * dtype.itemsize)


def _shift(model: Any, rows: int) -> torch.Tensor:
    """Return (B,) how many positions more or less than tokens the last pass counted: an image of Qwen-VL has fewer."""
    places = (getattr(model, "model", None), model)
    found = [getattr(one, "rope_deltas", None) for one in places]
    shifts: torch.Tensor = next((one for one in found if one is not None), torch.zeros(1)).flatten().long()
    return shifts.expand(rows)
