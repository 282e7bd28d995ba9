"""Faults in models of the real formats, each found by its own check, with the measured value and a fix."""

from __future__ import annotations

import copy
import json
from types import SimpleNamespace

import numpy as np
import open_clip
import pytest
import timm
import torch
from fitted_models import fitted
from safetensors.torch import load_file, save_file
from training_runs import TINY
from transformers_folders import built, save

from pytest_clip_robust import showroom
from pytest_clip_robust.core.checks import Status
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.check.run import batch_features, check_loaded, failed_row
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.protocols import LoadedModel
from pytest_clip_robust.models.spec import ModelSpec

BAD = (Status.FAILED, Status.WARNING)


def rows_of(text, **options):
    spec = ModelSpec.parse(text)
    loaded = load_unchecked(spec, device="cpu", precision=options.pop("precision", "fp32"), folded=False)
    found = check_loaded(loaded, **options)
    assert len({row.name for row in found}) == len(found)
    assert all(bool(row.fix) == (row.status in BAD) for row in found)
    return {row.name: row for row in found}


def of(encoder, precision="fp32"):
    """Return the rows of an encoder that was made here."""
    spec = ModelSpec.parse("py:mine:load")
    digests = dict.fromkeys(("weights", "preprocess", "text"), "0")
    loaded = LoadedModel(spec=spec, encoder=encoder, precision=precision, device="cpu", **digests)
    return {row.name: row for row in check_loaded(loaded)}


def bad(rows):
    return {name: row.status for name, row in rows.items() if row.status in BAD}


class Mine:
    """A healthy encoder: a fitted CLIP of open_clip, as a user would wrap it."""

    identity, bias = "mine", 0.0

    def __init__(self):
        self.clip = copy.deepcopy(fitted(quick=True))
        self.scale = 100.0
        self.tokens = open_clip.get_tokenizer("ViT-B-32", context_length=16)

    def preprocess(self, image):
        pixels = np.asarray(image.resize((32, 32)), dtype=np.float32).transpose(2, 0, 1) / 255
        return (pixels - 0.5) / 0.5

    def encode_image(self, pixels):
        return self.clip.encode_image(pixels)

    def encode_text(self, texts):
        return self.clip.encode_text(self.tokens(texts))


@pytest.mark.parametrize("name", showroom.model_names())
def test_the_models_of_the_showroom_have_nothing_to_fix(name):
    rows = rows_of(name)
    assert not bad(rows)
    assert rows["matching"].measured.startswith("16 of 16 pictures (p 5e-20)")
    assert rows["parameters"].measured == "all 4,738,002 in 326 tensors loaded"


def test_a_model_without_faults_has_nothing_to_fix(save_fitted):
    folder = save_fitted(quick=True, stated=True)
    assert not bad(rows_of(f"local-dir:{folder}"))


def test_an_untrained_checkpoint_fails(tmp_path):
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(TINY)))
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    mean = {"mean": list(open_clip.OPENAI_DATASET_MEAN), "std": list(open_clip.OPENAI_DATASET_STD)}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": TINY, "preprocess_cfg": mean}))
    found = bad(rows_of(f"local-dir:{tmp_path}"))
    assert found["weights"] == Status.FAILED
    assert found["scale"] == Status.WARNING
    assert found["matching"] == Status.WARNING


def test_an_untrained_folder_of_transformers_fails(tmp_path):
    import transformers

    _, tokenizer, processor = built("CLIP")
    model = transformers.CLIPModel(built("CLIP")[0].config)
    rows = rows_of(f"hf:{save((model, tokenizer, processor), tmp_path)}")
    assert rows["weights"].status == Status.FAILED
    assert rows["tokens"].status == Status.OK
    assert rows["pixels"].status == rows["resizing"].status == Status.OK


@pytest.mark.parametrize("family", ["SigLIP", "SigLIP 2 NaFlex", "ALIGN"])
def test_other_families_of_transformers_are_checked(family, tmp_path):
    rows = rows_of(f"hf:{save(built(family), tmp_path)}")
    assert {rows[name].status for name in ("tokens", "finite", "dimensions", "repeat", "batches")} == {Status.OK}
    assert rows["matching"].status == Status.WARNING


def test_a_reference_is_compared_with(save_fitted):
    folder = save_fitted(quick=True, stated=True)
    encoder = load_unchecked(
        ModelSpec.parse(f"local-dir:{folder}"), device="cpu", precision="fp32", folded=False
    ).encoder
    rows = rows_of(f"local-dir:{folder}", reference=batch_features(encoder))
    assert "nearness to the reference 1.0000 and 0." in rows["activation"].measured


def test_reduced_precision_is_compared_with_fp32(save_fitted):
    spec = ModelSpec.parse(f"local-dir:{save_fitted(quick=True, stated=True)}")
    exact = load_unchecked(spec, device="cpu", precision="fp32", folded=False).encoder
    rows = rows_of(str(spec), precision="bf16", exact=lambda: batch_features(exact))
    # Its projections multiply rounding errors, as they do differences between pictures.
    assert rows["precision"].status == Status.FAILED
    assert rows["precision"].measured.startswith("smallest cosine to fp32 ")
    assert rows["precision"].fix == "features at bf16 are unlike those at fp32: use --clip-precision fp32"


def test_an_encoder_of_ones_own_has_nothing_to_fix():
    assert not bad(of(Mine()))


def test_one_random_block_is_found():
    mine = Mine()
    for layer in (mine.clip.transformer.resblocks[2].ln_1, mine.clip.transformer.resblocks[2].ln_2):
        layer.reset_parameters()
    found = of(mine)["weights"]
    assert found.status == Status.FAILED
    assert "first transformer.resblocks.2" in found.fix


def test_a_parameter_that_is_not_a_number_is_found():
    mine = Mine()
    mine.clip.visual.ln_post.weight.data[3] = torch.nan
    rows = of(mine)
    assert rows["finite"].status == Status.FAILED
    assert rows["finite"].fix.startswith("visual.ln_post.weight has NaN")
    assert "matching" not in rows


def test_dropout_that_is_on_is_found():
    mine = Mine()
    layer = torch.nn.Dropout(0.5).train()
    mine.encode_image = lambda pixels: layer(mine.clip.encode_image(pixels))
    assert of(mine)["repeat"].status == Status.FAILED


def test_batch_norm_in_training_mode_is_found():
    mine = Mine()
    layer = torch.nn.BatchNorm1d(32).train()
    mine.encode_image = lambda pixels: layer(mine.clip.encode_image(pixels))
    rows = of(mine)
    assert rows["batches"].status == Status.FAILED
    assert "batch norm" in rows["batches"].fix


def test_towers_of_different_dimensions_are_found():
    mine = Mine()
    mine.encode_text = lambda texts: mine.clip.encode_text(mine.tokens(texts))[:, :20]
    rows = of(mine)
    assert (rows["dimensions"].status, rows["dimensions"].measured) == (Status.FAILED, "32 of images, 20 of texts")


def test_a_tower_that_ignores_its_input_is_found():
    mine = Mine()
    mine.encode_text = lambda texts: torch.ones(len(texts), 32)
    found = bad(of(mine))
    assert found["dead dimensions"] == found["spread"] == Status.FAILED


def test_a_tower_that_raises_is_a_failed_row():
    mine = Mine()
    mine.encode_image = lambda pixels: 1 / 0
    row = of(mine)["features"]
    assert row.status == Status.FAILED
    assert row.measured == "encode_image failed: ZeroDivisionError: division by zero"


@pytest.mark.parametrize("raised", [RuntimeError("no"), SystemExit(3)])
def test_a_transform_that_raises_is_a_failed_row(raised):
    mine = Mine()

    def preprocess(image):
        raise raised

    mine.preprocess = preprocess
    rows = of(mine)
    assert rows["pixels"].status == rows["features"].status == Status.FAILED
    assert "preprocess failed" in rows["pixels"].measured


def test_a_classifier_with_its_own_head_has_no_checks_of_texts():
    mine = Mine()
    encoder = SimpleNamespace(
        identity="head",
        preprocess=mine.preprocess,
        encode_image=mine.encode_image,
        classes="imagenet-1k",
        clip=mine.clip,
    )
    rows = of(encoder)
    skipped = {name for name, row in rows.items() if row.status == Status.NOT_APPLICABLE}
    assert {"tokens", "context", "scale", "dimensions", "matching", "activation"} <= skipped
    assert not bad(rows)


def test_an_untrained_classifier_of_timm_fails(tmp_path):
    model = timm.create_model("resnet18")
    torch.save(model.state_dict(), tmp_path / "r18.pt")
    rows = rows_of(f"timm:resnet18@{tmp_path / 'r18.pt'}")
    assert bad(rows) == {"weights": Status.FAILED}
    numbers = sum(one.numel() for one in model.state_dict().values())
    assert rows["parameters"].measured.startswith(f"all {numbers:,} in ")
    assert "as ImageNet's" in rows["pixels"].measured


def test_a_model_of_stored_answers_has_nothing_to_check():
    assert [row.status for row in of(SimpleNamespace()).values()] == [Status.NOT_APPLICABLE]


def test_the_fix_of_an_error_is_its_last_part():
    row = failed_row("parameters", ModelError("x lacks 3 parameters, first 'a'; name its architecture"))
    assert (row.measured, row.fix) == ("x lacks 3 parameters, first 'a'", "name its architecture")
    assert failed_row("parameters", ModelError("no")).fix == "correct the spec, or what it names"


def test_the_showroom_with_the_tokenizer_of_another_model_is_found(tmp_path):
    """The tokenizer's words are in another order: texts survive, but mean nothing to the model."""
    folder = showroom.model_folder("showroom-clip")
    for file in ("open_clip_config.json", "tokenizer_config.json"):
        (tmp_path / file).write_bytes((folder / file).read_bytes())
    save_file(load_file(folder / "open_clip_model.safetensors"), tmp_path / "open_clip_model.safetensors")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    special = {one["content"] for one in tokenizer["added_tokens"]}
    words = [word for word in vocabulary if word not in special]
    numbers = [vocabulary[word] for word in words]
    tokenizer["model"]["vocab"] |= dict(zip(words, np.roll(numbers, 100).tolist(), strict=True))
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    rows = rows_of(f"local-dir:{tmp_path}")
    assert rows["tokens"].status == Status.OK
    assert rows["matching"].status == Status.WARNING
