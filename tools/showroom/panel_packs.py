"""Feature packs of the panel's models, as the package ships them.

    cd MODELS && python -m showroom.panel_packs towers | features | packs --out DIR

An image goes through each tower once: ``towers`` writes models whose features are those of a tower, the suites fill the
feature store with them, ``features`` projects them into the space of every other model, and the suites then encode only
texts. ``packs`` rounds all features to half precision and exports them. docs/showroom.md has the commands.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import open_clip
import torch

from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey
from pytest_clip_robust.encoding.store.packs import export_pack
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelSpec

from . import panel_towers
from .panel import RECIPES
from .panel_adapter import ADAPTED
from .panel_heads import HEADS, HeadModel
from .train import make_tokenizer, save, write_config

SPECS = {
    **{name: f"local-dir:{name}" for name in RECIPES},
    **{name: f"py:showroom.panel_heads:load?folder={name}" for name in HEADS},
    **{name: f"local-dir:{base}+adapter:{name}" for name, base in ADAPTED.items()},
}
"""The spec of every model of the panel that is shipped as a pack, in the folder of the models."""


def main() -> None:
    """Do one of the three steps for the models in the working directory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["towers", "features", "packs"])
    parser.add_argument("--data", type=Path, help="folder with train.parquet, for towers")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="the --clip-cache of the suites")
    parser.add_argument("--out", type=Path, help="folder for the packs")
    parser.add_argument("--only", default="", help="names of towers or models, separated by commas (default: all)")
    options = parser.parse_args()
    store = FeatureStore(str(options.cache / "features"))
    if options.step == "towers":
        for name in options.only.split(",") if options.only else panel_towers.TOWERS:
            write_tower_model(name, data=options.data, out=Path())
        return
    for name in options.only.split(",") if options.only else SPECS:
        if options.step == "packs":
            pack(store, loaded(SPECS[name]), options.out / name)
        elif tower := tower_of(name):
            count = project(store, loaded(f"local-dir:tower-{tower}"), loaded(SPECS[name]), projection_of(name))
            print(f"{name}: {count} images", flush=True)


def tower_of(name: str) -> str:
    """Return the tower of a model whose tower is locked, or ``""``."""
    if name in RECIPES:
        return RECIPES[name].tower
    return HEADS[name].tower if name in HEADS else ""


def loaded(spec: str) -> LoadedModel:
    """Return the model of a spec, on the CPU at fp32."""
    return load_model(ModelSpec.parse(spec), device="cpu", precision="fp32")


def write_tower_model(name: str, *, data: Path, out: Path) -> None:
    """Write an open_clip model whose image features are the pooled features of a tower; its texts mean nothing."""
    tower = panel_towers.load(name, data=data, out=out)
    tokenizer = make_tokenizer(list(open_clip.IMAGENET_CLASSNAMES))
    folder = out / f"tower-{name}"
    width = tower.classifier.shape[1]
    write_config(folder, tokenizer, tower, dimensions=width)
    torch.manual_seed(0)
    clip = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    clip.visual.trunk.load_state_dict(tower.parameters)
    with torch.no_grad():
        clip.visual.head.proj.weight.copy_(torch.eye(width))
        clip.visual.head.proj.bias.zero_()
    save(clip, folder)


def project(
    store: FeatureStore, tower: LoadedModel, model: LoadedModel, projection: Callable[[torch.Tensor], torch.Tensor]
) -> int:
    """Store the image features of `model` for all images that `store` has of its locked tower; return their number.

    projection: (N, F) pooled features to (N, D) features of the model.
    """
    count = 0
    for key in store.keys(tower.weights):
        if key.kind != "image":
            continue
        rows = store.all_rows(key)
        transform = key.transform.replace(tower.preprocess, model.preprocess)
        projected = StoreKey(kind="image", weights=model.weights, transform=transform, precision=key.precision)
        with torch.inference_mode():
            features = projection(torch.from_numpy(rows.features.copy()))
        store.write(projected, rows.digests, features.numpy())
        count += len(rows.digests)
    return count


def projection_of(name: str) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return the function from (N, F) pooled features to the (N, D) features of a model with a locked tower."""
    if name in HEADS:
        return HeadModel(Path(name)).project
    head: Callable[[torch.Tensor], torch.Tensor] = open_clip.create_model(f"local-dir:{name}").visual.head.eval()
    return head


def pack(store: FeatureStore, model: LoadedModel, folder: Path) -> None:
    """Export the features of a model at half precision, with the manifest that the package reads."""
    shutil.rmtree(folder, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        rounded = FeatureStore(scratch)
        for key in store.keys(model.weights):
            rows = store.all_rows(key)
            rounded.write(key, rows.digests, rows.features.astype(np.float16).astype(np.float32))
        rows_of = export_pack(rounded, model, folder)["rows"]
    files = {
        path.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / "manifest.json").write_text(json.dumps({"files": files}, indent=1) + "\n", encoding="utf-8")
    print(f"{folder.name}: {rows_of}, {sum(one['bytes'] for one in files.values()):,} bytes", flush=True)


if __name__ == "__main__":
    main()
