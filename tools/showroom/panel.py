"""Training of the showroom's panel: models that differ from one another in one factor of the study.

    python -m showroom.panel --data DIR --out DIR [--only NAME,NAME]

All are locked-image tuned by the recipe of `train`, but smaller: 64 dimensions, 200 steps, a quarter of the renders.
Each recipe changes one thing of the first one, ``showroom-lite0``: the image tower, the training data, their number, or
the loss. `panel_heads` and `panel_adapter` fine-tune it, and `panel_packs` makes feature packs of all. With one thread
(OMP_NUM_THREADS=1), the same seed gives the same models.
"""

from __future__ import annotations

import argparse
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import open_clip
import pyarrow.parquet as pq
import torch

from . import panel_renders, panel_towers
from .panel_renders import BASE, INSTANCES, STYLES
from .train import (
    Renders,
    contrast,
    make_tokenizer,
    read_renders,
    save,
    sigmoid_contrast,
    start_from_classifier,
    tune,
    write_config,
)

DIMENSIONS, STEPS, BATCH, NAMES_PER_STEP = 64, 200, 128, 80
SEED = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a model is trained on, and how.

    tower: a name of `panel_towers.TOWERS`. renders: which renders. share: the part of them that is used, 0 to 1.
    names: whether it also learns the 1,000 class names of ImageNet. sigmoid: whether the loss is SigLIP's.
    """

    tower: str = "lite0"
    renders: str = BASE
    share: float = 1.0
    names: bool = True
    sigmoid: bool = False

    def card(self, renders: int) -> dict[str, str | int]:
        """Return the facts of the model card, for a training set of so many `renders`."""
        data = "showroom" + panel_renders.WORDS[self.renders] + (" and ImageNet-1k" if self.names else "")
        return {
            **panel_towers.TOWERS[self.tower].architecture,
            "data": data,
            "pairs": renders + len(open_clip.IMAGENET_CLASSNAMES) * self.names,
            "samples_seen": STEPS * (BATCH + NAMES_PER_STEP * self.names),
            "loss": "sigmoid" if self.sigmoid else "softmax",
            "licence": "Apache-2.0",
            "fine_tuning": "zero-shot",
        }


RECIPES = {
    "showroom-lite0": Recipe(),
    "showroom-lite1": Recipe(tower="lite1"),
    "showroom-lite2": Recipe(tower="lite2"),
    "showroom-lite0-renders": Recipe(names=False),
    "showroom-lite0-instances": Recipe(renders=INSTANCES),
    "showroom-lite0-styles": Recipe(renders=STYLES),
    "showroom-lite0-30": Recipe(share=0.3),
    "showroom-lite0-10": Recipe(share=0.1),
    "showroom-lite0-sigmoid": Recipe(sigmoid=True),
    "showroom-mobilenet": Recipe(tower="mobilenet", names=False),
    "showroom-resnet": Recipe(tower="resnet", names=False),
    "showroom-vit": Recipe(tower="vit", names=False),
}


def main() -> None:
    """Train the models that do not exist yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with train.parquet and validation.parquet")
    parser.add_argument("--out", type=Path, required=True, help="folder for the models and what they are made of")
    parser.add_argument("--only", default=",".join(RECIPES), help="names of models, separated by commas")
    options = parser.parse_args()
    for name in options.only.split(","):
        if name not in RECIPES:
            parser.error(f"unknown model {name!r}; expected one of: {', '.join(RECIPES)}")
        if not (options.out / name / "manifest.json").exists():
            print(f"{name}: {RECIPES[name]}", flush=True)
            train(name, RECIPES[name], data=options.data, out=options.out)


def train(name: str, recipe: Recipe, *, data: Path, out: Path, steps: int = STEPS) -> None:
    """Train one model and write it to ``out / name``, as a folder that open_clip can load, with its card."""
    torch.manual_seed(SEED)
    tower = panel_towers.load(recipe.tower, data=data, out=out)
    base = panel_renders.write(BASE, data, out)
    known = None if recipe.renders == BASE else base
    renders = taken(read_renders(panel_renders.write(recipe.renders, data, out), tower, like=known), recipe.share)
    held_out = read_renders(panel_renders.write(panel_renders.VALIDATION, data, out), tower)
    # One vocabulary for all recipes, so that the number of renders does not change the tokens of a text.
    words = pq.read_table(base, columns=["caption"]).column("caption").to_pylist()
    tokenizer = make_tokenizer([*words, *open_clip.IMAGENET_CLASSNAMES])
    folder = out / name
    write_config(folder, tokenizer, tower, dimensions=DIMENSIONS, sigmoid=recipe.sigmoid)
    clip = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    clip.visual.trunk.load_state_dict(tower.parameters)
    if len(tower.classifier) > DIMENSIONS:
        start_from_classifier(clip, tower)
    tune(
        clip,
        tokenizer,
        tower,
        renders,
        held_out,
        steps=steps,
        seed=SEED,
        batch=BATCH,
        names_per_step=NAMES_PER_STEP * recipe.names,
        loss_of=sigmoid_contrast if recipe.sigmoid else contrast,
    )
    write_card(folder, recipe.card(len(renders.labels)))
    save(clip, folder)


def taken(renders: Renders, share: float) -> Renders:
    """Return the first ones of every class, a share of its renders, so that larger shares hold smaller ones."""
    sizes = Counter(renders.labels)
    ranks = panel_renders.ranks(renders.labels)
    kept = np.flatnonzero(ranks < np.array([round(share * sizes[label]) for label in renders.labels]))
    return replace(
        renders,
        features=renders.features[torch.from_numpy(kept)],
        labels=[renders.labels[i] for i in kept],
        captions=[renders.captions[i] for i in kept],
    )


def write_card(folder: Path, facts: dict[str, str | int]) -> None:
    """Write the model card's facts to ``card.toml``, which the package reads."""
    lines = [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value:_}" for key, value in facts.items()]
    (folder / "card.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
