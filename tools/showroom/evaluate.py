"""Evaluation of a showroom model: the numbers in its model card.

    python -m showroom.evaluate MODEL_SPEC [--photographs DIR]

DIR contains photographs of ImageNet's classes and a table ``labels.csv`` with the columns file and wnid.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.catalog import catalog
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.prompts.templates import prompt_set
from pytest_clip_robust.scoring.zero_shot import zero_shot_logits, zero_shot_weights


def main() -> None:
    """Print one line per measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("--photographs", type=Path)
    options = parser.parse_args()
    model = load_model(ModelSpec.parse(options.model), device="cpu", precision="fp32")
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(folder)

        def logits(images, names, prompts):  # noqa: ANN001, ANN202 - an ImageSet, class names, a prompt set
            texts = Encoder(store).texts(model, prompt_set(prompts).texts(names))
            weights = zero_shot_weights(texts, len(names))
            features = Encoder(store).images(model, images)
            return zero_shot_logits(features, weights, scale=model.encoder.scale, bias=model.encoder.bias)

        identity = load_image_set(catalog()["showroom-id"])
        known = logits(identity, identity.class_names, "simple-7")
        print(f"top-1 on id: {np.mean(known.argmax(1) == identity.labels):.3f} (n={len(identity)})")
        for name in ("ood-near", "ood-far"):
            outside = logits(load_image_set(catalog()[f"showroom-{name}"]), identity.class_names, "simple-7")
            truth = np.r_[np.ones(len(known)), np.zeros(len(outside))]
            for score, of in (("MSP", confidence), ("max logit", lambda x: x.max(axis=1))):
                print(f"AUROC on {name}, {score}: {roc_auc_score(truth, np.r_[of(known), of(outside)]):.3f}")
        for direction, recall in recalls(model, store).items():
            print(f"R@1 {direction}: {recall:.3f}")
        if options.photographs:
            entry = DataEntry(
                name="photographs",
                location=str(options.photographs),
                table="labels.csv",
                label="wnid",
                classes="imagenet-1k",
            )
            photographs = load_image_set(entry)
            found = logits(photographs, photographs.class_names, "basic-3")
            print(f"top-1 on photographs: {np.mean(found.argmax(1) == photographs.labels):.3f} (n={len(photographs)})")


def confidence(logits: np.ndarray) -> np.ndarray:
    """Return the softmax probability of each row's highest logit."""
    return 1 / np.exp(logits - logits.max(axis=1, keepdims=True)).sum(axis=1)


def recalls(model, store: FeatureStore) -> dict[str, float]:  # noqa: ANN001 - a LoadedModel
    """Return R@1 in both directions over the captioned scenes; a caption can be true of several scenes."""
    entry = DataEntry(name="captions", location="showroom:captions", label="true_caption")
    images = Encoder(store).images(model, load_image_set(entry))
    listed = pq.read_table(showroom.data_file("captions")).column("captions").to_pylist()
    words = [caption for captions in listed for caption in captions]
    texts = Encoder(store).texts(model, words)
    similarity = unit(images) @ unit(texts).T
    true = np.array([[word in captions for word in words] for captions in listed])
    return {
        f"image to text ({len(images)} images)": float(true[np.arange(len(images)), similarity.argmax(1)].mean()),
        f"text to image ({len(words)} captions)": float(true[similarity.argmax(0), np.arange(len(words))].mean()),
    }


def unit(rows: np.ndarray) -> np.ndarray:
    """Return the rows divided by their L2 norm."""
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


if __name__ == "__main__":
    main()
