"""Benchmark of candidates behind one image: one shared pass over the image, against a whole pass for each candidate.

    python benchmarks/likelihoods.py                     16, 128 and 1,000 candidates
    python benchmarks/likelihoods.py --candidates 16     fewer

The model is a LLaVA with random weights and the 576 image tokens of LLaVA-1.5, with a tower and a language model that
are small, so that whole passes end. In each repeat the two ways run one after the other and give one ratio; the table
shows the median with the lowest and the highest. Whole passes are timed on at most 16 candidates. Three repeats take
about five minutes on one core.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from run import machine, timed

if TYPE_CHECKING:
    from pytest_clip_robust.models.lmm.likelihood import Likelihoods
    from pytest_clip_robust.models.lmm.model import MultimodalModel

PRECISION = "fp32"
QUESTION = "What type of object is in this photo?"
TIMED = 16
"""How many whole passes are timed."""
WORDS = ("German", "old", "small", "wet", "tabby", "house", "boat", "dog", "cat", "bridge")
TEMPLATE = (
    "{% for m in messages %}USER: {% for c in m['content'] %}{% if c['type'] == 'image' %}<image>\n{% else %}"
    "{{ c['text'] }}{% endif %}{% endfor %} {% endfor %}ASSISTANT:"
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, nargs="+", default=[16, 128, 1000], help="numbers of candidates")
    parser.add_argument("--repeats", type=int, default=3, help="timings of each way (default: 3)")
    options = parser.parse_args()
    print(f"{machine('a LLaVA with random weights')}\n")
    for row in times(options):
        print(row, flush=True)


def times(options: argparse.Namespace) -> Iterator[str]:
    """Yield a table of times."""
    fast, whole = ways()
    yield "| candidates | tokens | one shared pass | a whole pass each | ratio |"
    yield "|---|---|---|---|---|"
    for number in options.candidates:
        candidates = names(number)
        some = candidates[:: max(1, number // TIMED)][:TIMED]
        found = [
            (timed(lambda: fast(candidates)), timed(lambda: whole(some)) / len(some) * number)  # noqa: B023 - called here
            for _ in range(options.repeats)
        ]
        ratios = [each / shared for shared, each in found]
        shared, each = (statistics.median(one) for one in zip(*found, strict=True))
        spread = f"{statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})"
        tokens = int(fast(candidates).tokens.sum())
        yield f"| {number:,} | {tokens:,} | {shared:.2f} s | {each:.1f} s | {spread} |"


def ways() -> tuple[Callable[[list[str]], Likelihoods], Callable[[list[str]], Likelihoods]]:
    """Return both ways to score candidates: behind a shared pass, and by whole passes."""
    from pytest_clip_robust.models.compilation import noise_image
    from pytest_clip_robust.models.lmm.guard import TOLERANCES

    found = []
    for tolerance in (100, -1):  # with the second, the model takes every difference for an error
        TOLERANCES[PRECISION] = tolerance
        model = model_of()
        found.append(partial(model.likelihoods, noise_image(), QUESTION))
        found[-1](names(1))  # the first question is that on which ways are compared
    return found[0], found[1]


def names(number: int) -> list[str]:
    """Return distinct names of one to four words."""
    size = len(WORDS)
    digits = [[index // size**place % size for place in range(3)] for index in range(number)]
    return [" ".join(WORDS[place] for place in row[: 1 + index % 3]) + f" {index}" for index, row in enumerate(digits)]


def model_of() -> MultimodalModel:
    """Return a LLaVA with random weights, of 576 image tokens."""
    import torch
    import transformers as hf
    from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
    from tokenizers.models import BPE

    from pytest_clip_robust.models.lmm.families import FAMILIES
    from pytest_clip_robust.models.lmm.model import MultimodalModel

    torch.manual_seed(0)
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<pad>", "<s>", "</s>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    raw.train_from_iterator([f"USER: {QUESTION} ASSISTANT: {' '.join(WORDS)}"], trainer)
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>"}
    marks = {"extra_special_tokens": {"image_token": "<image>"}}
    own = hf.PreTrainedTokenizerFast(tokenizer_object=raw, **special, **marks)
    size = {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6, "num_attention_heads": 8}
    config = hf.LlavaConfig(
        vision_config=hf.CLIPVisionConfig(image_size=336, patch_size=14, **size),
        text_config=hf.LlamaConfig(**size, vocab_size=len(own), initializer_range=0.1),
        image_token_index=own.image_token_id,
    )
    images = hf.CLIPImageProcessor(size={"shortest_edge": 336}, crop_size={"height": 336, "width": 336})
    settings = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
    processor = hf.LlavaProcessor(image_processor=images, tokenizer=own, chat_template=TEMPLATE, **settings)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = hf.LlavaForConditionalGeneration(config).eval().requires_grad_(requires_grad=False)
    return MultimodalModel(
        module.to(device),
        processor,
        FAMILIES["llava"],
        identity="",
        precision=PRECISION,
        device=device,
        where="model",
        notice=str,
    )


if __name__ == "__main__":
    main()
