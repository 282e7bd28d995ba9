"""Tests of retrieval and hard pairs on real photographs with a trained encoder, against naive implementations."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pytest_clip_robust.datasets.captions.captions import load_caption_set
from pytest_clip_robust.datasets.captions.contrasts import load_contrast_set
from pytest_clip_robust.datasets.entry import DataEntry
from pytest_clip_robust.encoding.encoder import Encoder
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.properties import composition, retrieval
from pytest_clip_robust.scoring import pairs, rankings

pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def encoder(shared, request, tmp_path_factory):
    """Return two functions that encode images and texts; nothing is encoded twice in this module."""
    path = request.config.rootpath / "tests" / "real" / "effl0_minilm.py"
    model = load_model(ModelSpec.parse(f"py:{path}:load"), device="cpu", precision="fp32")
    store = FeatureStore(tmp_path_factory.mktemp("features"))
    return (
        lambda images: Encoder(store, LocalEngine(workers=0)).images(model, images),
        lambda texts: Encoder(store).texts(model, texts),
    )


@pytest.fixture(scope="module")
def coco(shared, encoder):
    found = load_caption_set(DataEntry(name="coco-239", location=str(shared / "data" / "coco_239")))
    of_images, of_texts = encoder
    return rankings.CaptionedImages(
        dataset="coco-239",
        images=of_images(found.images),
        captions=of_texts(found.captions),
        pairs=found.pairs,
        image_names=found.images.samples,
        texts=found.captions,
    )


def test_recalls_equal_a_full_sort_and_are_close_to_independent_measurements(coco):
    found = rankings.rank(coco)
    scores = coco.images.astype(np.float64) @ coco.captions.astype(np.float64).T
    owners = coco.pairs[:, 0]
    for way, table, hits in (
        ("image_to_text", scores, lambda order, query: owners[order] == query),
        ("text_to_image", scores.T, lambda order, query: order == owners[query]),
    ):
        first = [int(hits(np.argsort(-row, kind="stable"), query).argmax()) for query, row in enumerate(table)]
        assert (found[way].found.ranks == np.array(first) + 1).all()
    to_image, to_text = (
        [retrieval.recall(found[way], k) for k in retrieval.RECALLS] for way in ("text_to_image", "image_to_text")
    )
    assert [one.value for one in to_image] == pytest.approx([0.153, 0.449, 0.610], abs=0.01)
    assert [one.value for one in to_text] == pytest.approx([0.222, 0.485, 0.611], abs=0.015)
    for found, elsewhere in zip((*to_image, *to_text), (0.161, 0.457, 0.625, 0.230, 0.498, 0.619), strict=True):
        assert found.interval.low < elsewhere < found.interval.high
    assert (to_image[0].n, to_text[0].n) == (1195, 239)
    assert to_image[0].interval.high - to_image[0].interval.low > 1.3 * 2 * 1.96 * (0.153 * 0.847 / 1195) ** 0.5


def test_sugarcrepe_equals_a_loop_over_its_file(shared, encoder):
    folder = shared / "data" / "coco_239"
    found = load_contrast_set(DataEntry(name="crepe", location=str(folder), table="sugarcrepe_subset.json"))
    of_images, of_texts = encoder
    contrasts = pairs.contrast(
        of_images(found.images),
        of_texts(found.texts),
        texts=found.texts,
        image_of=found.image_of,
        true_of=found.true_of,
        false_items=found.false_items,
        false_of=found.false_of,
        dataset="crepe",
        kinds=found.kinds,
        samples=found.samples,
    )
    feature = dict(zip(found.texts, of_texts(found.texts), strict=True))
    picture = dict(zip(found.images.samples, of_images(found.images), strict=True))
    listed = json.loads((folder / "sugarcrepe_subset.json").read_text())
    kinds = dict(zip(listed, ["add_attribute", "add_object", "replace_attribute", "replace_object"], strict=False))
    kinds |= {"replace_rel": "replace_relation", "swap_att": "swap_attribute", "swap_obj": "swap_object"}
    for part, items in listed.items():
        right = [
            picture[item["filename"]] @ feature[item["caption"].strip()]
            > picture[item["filename"]] @ feature[item["negative_caption"].strip()]
            for item in items
        ]
        measured = composition.accuracy(contrasts, kinds[part])
        assert (measured.n, measured.value) == (len(items), pytest.approx(np.mean(right))), part
    assert composition.accuracy(contrasts).value == pytest.approx(0.607, abs=0.02)


def test_captions_with_added_objects_are_recognised_from_the_text_alone(shared):
    folder = shared / "data" / "coco_239"
    found = load_contrast_set(DataEntry(name="crepe", location=str(folder), table="sugarcrepe_subset.json"))
    told = pairs.tell_texts_apart(
        [found.texts[i] for i in found.true_of], [found.texts[i] for i in found.false_of], found.image_of
    )
    kinds = np.array(found.kinds)
    assert told[kinds == "add_object"].mean() == 1
    assert told[kinds == "swap_attribute"].mean() < 0.65
