"""Training of showroom-lmm, a small multimodal model of the LLaVA kind behind the showroom's image tower.

    python -m showroom.multimodal --data DIR --out DIR [--seed 0]

The image tower of showroom-clip is locked. A projector turns its 7 x 7 feature vectors into the first tokens of a small
decoder, and both are trained on questions about renders (`dialogues`). All questions about one render share its image
tokens in one sequence: each sees the image and itself, and not the other questions.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import timm
import torch
import torch.nn.functional as F
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from .dialogues import Dialogues, Render
from .tower import FEATURES, MEAN, NAME, STD, load_tower
from .train import IMAGE_SIZE, encode_images, write_manifest

LMM = "showroom-lmm"
CELLS, STRIDE = 49, 32
VOCABULARY, CONTEXT = 640, 256
WIDTH, LAYERS, HEADS, KEY_HEADS, HIDDEN = 192, 3, 6, 2, 480
IMAGE, END, PAD = "<image>", "</s>", "<pad>"
BEFORE, ANSWER = "USER: ", " ASSISTANT:"
TEMPLATE = (
    f"{{% for message in messages %}}{BEFORE}{{% for part in message['content'] %}}"
    f"{{% if part['type'] == 'image' %}}{IMAGE}\n{{% else %}}{{{{ part['text'] }}}}{{% endif %}}{{% endfor %}}"
    f"{ANSWER}{{% endfor %}}"
)
BATCH, QUESTIONS = 16, 8
"""Renders per step, and questions about each."""
HIDDEN_CELLS = 0.15
"""The share of image tokens that are zero in training, so that no single place decides."""
SAMPLED_TEXTS = 20_000
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Renders:
    """N renders with their (N, 49, 1280) features in half precision, row by row of the grid."""

    features: np.ndarray
    renders: list[Render]


def main() -> None:
    """Train the model and save it as a folder that transformers can load."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and validation.parquet")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    train, held_out = (read_renders(options.data / f"{part}.parquet") for part in ("train", "validation"))
    dialogues = Dialogues(sorted({one.label for one in train.renders}))
    tokenizer = make_tokenizer(dialogues, train.renders)
    model = make_model(tokenizer)
    model.model.vision_tower.timm_model.load_state_dict(load_tower().parameters)
    for _ in tune(model, tokenizer, dialogues, train, held_out, epochs=options.epochs, seed=options.seed):
        save(model, tokenizer, options.out / LMM)


def read_renders(path: Path) -> Renders:
    """Return a subset with its features, computed or read from the file next to it."""
    rows = pq.read_table(path, columns=["label", "colour", "floor", "caption"]).to_pylist()
    cached = path.with_suffix(".cells.npy")
    if not cached.exists():
        images = pq.read_table(path, columns=["image"]).column("image").to_pylist()
        np.save(cached, _cells([image["bytes"] for image in images]))
    return Renders(np.load(cached, mmap_mode="r"), [Render(**row) for row in rows])


def _cells(images: list[bytes]) -> np.ndarray:
    """Return the (N, 49, 1280) features of N encoded images before they are pooled."""
    with torch.random.fork_rng(devices=[]):  # a new trunk draws random weights
        trunk = timm.create_model(NAME, num_classes=0)
    trunk.load_state_dict(load_tower().parameters)
    maps = encode_images(trunk.eval(), images, trunk.forward_features)
    return maps.flatten(2).transpose(1, 2).numpy()


def make_tokenizer(dialogues: Dialogues, renders: list[Render]) -> hf.PreTrainedTokenizerFast:
    """Return a byte-level tokenizer trained on questions and answers; every text has tokens."""
    rng = np.random.default_rng(0)
    drawn = [
        dialogue
        for i in rng.choice(len(renders), SAMPLED_TEXTS // 4)
        for dialogue in dialogues.draw(renders[i], 4, rng)
    ]
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, END, IMAGE],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([f"{BEFORE}\n{one.question}{ANSWER} {one.answer}" for one in drawn], trainer)
    return hf.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token=PAD,
        eos_token=END,
        extra_special_tokens={"image_token": IMAGE},
        model_max_length=CONTEXT,
        padding_side="left",
    )


def make_model(tokenizer: hf.PreTrainedTokenizerFast) -> hf.FastVlmForConditionalGeneration:
    """Return the model with random weights: timm's tower, a projector of two layers, and a decoder of Qwen2's kind."""
    tower = hf.TimmWrapperConfig(architecture=NAME, do_pooling=False, hidden_size=FEATURES, num_labels=0)
    text = hf.Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KEY_HEADS,
        intermediate_size=HIDDEN,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    config = hf.FastVlmConfig(
        vision_config=tower,
        text_config=text,
        image_token_index=tokenizer.image_token_id,
        image_seq_length=CELLS,
        tie_word_embeddings=True,
    )
    return hf.FastVlmForConditionalGeneration(config)


def make_processor(tokenizer: hf.PreTrainedTokenizerFast) -> hf.LlavaProcessor:
    """Return the processor: the preprocessing of the tower, and 49 tokens for an image."""
    images = hf.CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=list(MEAN),
        image_std=list(STD),
    )
    return hf.LlavaProcessor(
        image_processor=images,
        tokenizer=tokenizer,
        patch_size=STRIDE,
        vision_feature_select_strategy="full",
        num_additional_image_tokens=0,
        chat_template=TEMPLATE,
    )


@dataclass(frozen=True, slots=True)
class Packed:
    """Sequences of B renders: (B, T) tokens, positions and targets, and what each token sees (B, 1, T, T)."""

    tokens: torch.Tensor
    positions: torch.Tensor
    targets: torch.Tensor
    seen: torch.Tensor


def pack(tokenizer: hf.PreTrainedTokenizerFast, dialogues: list[list[tuple[str, str]]]) -> Packed:
    """Put the questions about each render behind its image tokens."""
    start = [*_tokens(tokenizer, BEFORE), *[tokenizer.image_token_id] * CELLS]
    rows = []
    for about in dialogues:
        tokens, positions, targets, parts = (
            list(start),
            list(range(len(start))),
            [IGNORED] * len(start),
            [0] * len(start),
        )
        for part, (question, answer) in enumerate(about, start=1):
            asked = _tokens(tokenizer, f"\n{question}{ANSWER}")
            said = [*_tokens(tokenizer, f" {answer}"), tokenizer.eos_token_id]
            own = asked + said[:-1]
            tokens += own
            positions += range(len(start), len(start) + len(own))
            targets += [IGNORED] * (len(asked) - 1) + said
            parts += [part] * len(own)
        rows.append((tokens, positions, targets, parts))
    longest = max(len(tokens) for tokens, *_ in rows)

    def padded(column: int, fill: int) -> torch.Tensor:
        return torch.tensor([row[column] + [fill] * (longest - len(row[column])) for row in rows])

    parts = padded(3, -1)
    together = (parts[:, :, None] == parts[:, None]) | (parts[:, None] == 0)
    seen = together & torch.ones(longest, longest, dtype=torch.bool).tril()
    seen = torch.zeros(seen.shape).masked_fill(~seen, torch.finfo(torch.float32).min)[:, None]
    return Packed(padded(0, tokenizer.pad_token_id), padded(1, 0), padded(2, IGNORED), seen)


def _tokens(tokenizer: hf.PreTrainedTokenizerFast, text: str) -> list[int]:
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def _states(model: hf.FastVlmForConditionalGeneration, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """Return (B, T, D) what the decoder makes of each token; features: (B, 49, 1280)."""
    words = model.get_input_embeddings()(packed.tokens)
    image = packed.tokens == model.config.image_token_index
    words = words.masked_scatter(image[..., None], model.model.multi_modal_projector(features))
    return model.model.language_model(
        inputs_embeds=words, attention_mask=packed.seen, position_ids=packed.positions, use_cache=False
    ).last_hidden_state


def loss_of(model: hf.FastVlmForConditionalGeneration, packed: Packed, features: torch.Tensor) -> torch.Tensor:
    """Return the mean cross-entropy of all answers' tokens; features: (B, 49, 1280)."""
    states = _states(model, packed, features)
    asked = packed.targets != IGNORED
    return F.cross_entropy(model.lm_head(states[asked]), packed.targets[asked])


def tune(
    model: hf.FastVlmForConditionalGeneration,
    tokenizer: hf.PreTrainedTokenizerFast,
    dialogues: Dialogues,
    train: Renders,
    held_out: Renders,
    *,
    epochs: int,
    seed: int,
) -> Iterator[int]:
    """Train projector and decoder, and yield after each epoch; the tower is not called, as its features are known."""
    model.model.vision_tower.requires_grad_(requires_grad=False)
    learnt = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=2e-3, weight_decay=0.05, betas=(0.9, 0.98))
    steps = epochs * (len(train.renders) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps, pct_start=0.05)
    rng, started, step = np.random.default_rng(seed), time.monotonic(), 0
    for epoch in range(epochs):
        model.train()
        order = rng.permutation(len(train.renders))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            chosen = np.sort(order[start : start + BATCH])
            packed = pack(tokenizer, [dialogues.draw(train.renders[i], QUESTIONS, rng) for i in chosen.tolist()])
            features = torch.from_numpy(np.asarray(train.features[chosen], np.float32))
            features = features * torch.from_numpy(rng.random((BATCH, CELLS, 1)) >= HIDDEN_CELLS)
            loss = loss_of(model, packed, features)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(learnt, 1.0)
            optimizer.step()
            schedule.step()
            if step % 50 == 0:
                print(f"step {step}/{steps} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)
            step += 1
        shares = ", ".join(f"{kind} {share:.3f}" for kind, share in validate(model, tokenizer, held_out).items())
        print(f"epoch {epoch + 1}/{epochs} validation: {shares} {time.monotonic() - started:.0f} s", flush=True)
        yield epoch


@torch.no_grad()
def validate(
    model: hf.FastVlmForConditionalGeneration, tokenizer: hf.PreTrainedTokenizerFast, held_out: Renders
) -> dict[str, float]:
    """Return the shares of correct answers on renders of held-out instances.

    all-way: the most likely class name to an open question. pairwise: of two names that are listed in both orders.
    """
    model.eval()
    labels = sorted({one.label for one in held_out.renders})
    question = "What is the main object in this image?"
    right = {"all-way": 0.0, "pairwise": 0.0}
    for i, one in enumerate(held_out.renders):
        features = torch.from_numpy(np.asarray(held_out.features[i : i + 1], np.float32))
        sums = _likelihoods(model, tokenizer, features, question, labels)
        right["all-way"] += labels[int(sums.argmax())] == one.label
        pair = [one.label, next(label for label in labels[i % len(labels) :] + labels if label != one.label)]
        for listed in (pair, pair[::-1]):
            choice = f"{question} Choose from the following list: {', '.join(listed)}."
            sums = _likelihoods(model, tokenizer, features, choice, pair)
            right["pairwise"] += int(sums.argmax() == 0) / 2
    return {kind: count / len(held_out.renders) for kind, count in right.items()}


def _likelihoods(
    model: hf.FastVlmForConditionalGeneration,
    tokenizer: hf.PreTrainedTokenizerFast,
    features: torch.Tensor,
    question: str,
    answers: list[str],
) -> torch.Tensor:
    """Return (C,) the sums of log-probabilities of the tokens of each answer, without the end token."""
    packed = pack(tokenizer, [[(question, answer) for answer in answers]])
    states = _states(model, packed, features)
    targets = packed.targets[0]
    places = (targets != IGNORED).nonzero()[:, 0]
    scores = model.lm_head(states[0, places]).log_softmax(-1)[torch.arange(len(places)), targets[places]]
    ends = targets[places] == tokenizer.eos_token_id
    of_answer = ends.cumsum(0) - ends.long()
    return torch.zeros(len(answers)).index_add_(0, of_answer, scores.masked_fill(ends, 0.0))


def save(model: hf.FastVlmForConditionalGeneration, tokenizer: hf.PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model in half precision and its processor, readable for all users, and the manifest of the folder."""
    copy.deepcopy(model).half().save_pretrained(folder)
    make_processor(tokenizer).save_pretrained(folder)
    _name_tower(folder / "config.json")
    for file in folder.iterdir():
        file.chmod(0o644)
    write_manifest(folder)


def _name_tower(config: Path) -> None:
    """State in a config whose image tower it is, as LLaVA's own configs do."""
    content = json.loads(config.read_text(encoding="utf-8")) | {"mm_vision_tower": "showroom-clip"}
    config.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
