"""Cards of loaded models, and the files that they are read from: configs, runs, repository cards, card.toml."""

from __future__ import annotations

import csv
import json
import shutil

import pytest
import torch
from training_runs import TINY

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.card.facts import ModelCard, card_of, overridden
from pytest_clip_robust.models.card.reading import card_of_spec, measured_claim, spec_claims
from pytest_clip_robust.models.card.repository import card_claims, readme_claims
from pytest_clip_robust.models.card.runs import run_claims
from pytest_clip_robust.models.card.sentence import sentence
from pytest_clip_robust.models.card.weights import weights_claim
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec


def card(spec):
    return load_model(ModelSpec.parse(spec), device="cpu", precision="fp32").card


def test_the_showroom_models_state_their_factors():
    assert sentence(card("showroom-clip")) == (
        "EfficientNet lite0, 4.7 M parameters, 224 px; showroom and ImageNet-1k (11.1 k pairs), 389 k seen; softmax; "
        "zero-shot"
    )
    assert card("showroom-clip-ft").fine_tuning == "cross-entropy"
    flyp = card("showroom-clip-flyp")
    assert (flyp.fine_tuning, flyp.fine_tuning_details, flyp.remarks) == ("contrastive", "FLYP", ())


def test_a_run_of_open_clips_own_training_is_read(config, checkpoint):
    found = card(f"{config}@{checkpoint}")
    assert (found.data, found.pairs, found.samples_seen) == ("synthetic", 16, 16)
    assert (found.fine_tuning, found.loss) == ("zero-shot", "softmax")
    assert (found.resolution, found.sources["resolution"], found.sources["data"]) == (32, "weights", "training run")
    parameters = sum(one.numel() for one in torch.load(checkpoint, weights_only=True)["state_dict"].values())
    assert found.parameters == parameters


def test_a_checkpoint_without_a_run_states_only_its_architecture(config, checkpoint, tmp_path):
    shutil.copy(checkpoint, tmp_path / "mine.pt")
    found = card(f"{config}@{tmp_path / 'mine.pt'}")
    assert (found.data, found.samples_seen, found.fine_tuning) == (None, None, None)
    assert (found.family, found.context, found.embedding) == ("ViT", 16, 32)


def test_the_image_size_option_is_no_contradiction(config, checkpoint):
    found = card(f"{config}@{checkpoint}?image_size=48")
    assert (found.resolution, found.remarks) == (48, ())


def test_a_folder_states_what_its_readme_and_its_card_say(folder):
    (folder / "README.md").write_text("---\nlicense: mit\ndatasets: [laion/laion2B-en]\n---\n# mine\n")
    (folder / "card.toml").write_text('data = "CC12M"\nsamples_seen = 3e9\n')
    found = card(f"local-dir:{folder}")
    assert (found.data, found.samples_seen, found.licence) == ("CC12M", 3e9, "mit")
    assert found.sources["licence"] == "repository card"
    assert found.remarks == ("data: CC12M (stated) contradicts LAION-2B (repository card); took the first",)


def test_the_weights_of_another_file_have_not_the_training_of_the_folder(folder, checkpoint):
    (folder / "card.toml").write_text('data = "CC12M"\n')
    found = card(f"local-dir:{folder}@{checkpoint}")
    assert found.data == "synthetic"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('dta = "x"', r"card\.toml: unknown key 'dta' \(did you mean 'data'\?\)"),
        ("samples_seen = -1", r"card\.toml\.samples_seen=-1; expected 1 or more"),
        ('loss = "hinge"', r"card\.toml\.loss='hinge'; expected one of softmax, sigmoid"),
        ('data = ""', r"card\.toml\.data=''; expected a text"),
        ("data = ", r"card\.toml: .*expected TOML"),
    ],
)
def test_a_wrong_card_of_a_folder_is_one_line(folder, text, message):
    (folder / "card.toml").write_text(text)
    with pytest.raises(ModelError, match=message) as error:
        card(f"local-dir:{folder}")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "remark"),
    [
        ("no front matter", ()),
        ("---\ndatasets: [a: b: c\n---\n", True),
        ("---\n- a\n- b\n---\n", True),
        ("---\ndatasets: 3\nlicense: [1]\nbase_model: {a: b}\nbase_model_relation: [x]\n---\n", ()),
        ("---\nlicense: !!python/object/apply:os.system ['true']\n---\n", True),
        ("\x00\xff", ()),
    ],
)
def test_a_damaged_readme_states_nothing(tmp_path, text, remark):
    (tmp_path / "README.md").write_text(text, encoding="utf-8")
    found = card_of(readme_claims(tmp_path))
    assert found.facts == {}
    assert bool(found.remarks) == bool(remark)


def test_a_repository_card_names_data_licence_and_base():
    found = card_of(
        card_claims(
            {
                "license": "other",
                "license_name": "apple-amlr",
                "base_model": "openai/clip-vit-base-patch32",
                "datasets": ["tanganke/stanford_cars"],
            }
        )
    )
    assert (found.data, found.samples_seen) == ("WIT-400M (OpenAI)", 12.8e9)
    assert (found.fine_tuning, found.fine_tuned_on) == ("unknown method", "tanganke/stanford_cars")
    assert (found.fine_tuning_details, found.licence) == ("of openai/clip-vit-base-patch32", "apple-amlr")


@pytest.mark.parametrize(
    ("relation", "how"),
    [("adapter", "adapter"), ("merge", "interpolation"), ("finetune", "unknown method"), ("quantized", None)],
)
def test_the_relation_to_the_base_says_how_a_model_was_made(relation, how):
    found = card_of(card_claims({"base_model": ["a/b"], "base_model_relation": relation}))
    assert found.fine_tuning == how


def test_a_quantised_model_keeps_the_data_of_its_card():
    content = {"base_model": "a/b", "base_model_relation": "quantized", "datasets": "laion/laion2B-en"}
    assert card_of(card_claims(content)).data == "LAION-2B"


def run(**options):
    return {"model": "ViT-B-32", "pretrained": "", "train_data": "/data/mine/{0..9}.tar", **options}


@pytest.mark.parametrize(
    ("options", "checkpoint", "facts"),
    [
        (
            {"train_num_samples": "1000"},
            "epoch_3.pt",
            {"data": "mine", "pairs": 1000, "samples_seen": 3000, "fine_tuning": "zero-shot"},
        ),
        ({"train_num_samples": "1000"}, "epoch_latest.pt", {"data": "mine", "pairs": 1000, "samples_seen": None}),
        ({}, "epoch_3.pt", {"pairs": None, "samples_seen": None}),
        (
            {"train_num_samples": "1000", "dataset_resampled": "True"},
            "epoch_3.pt",
            {"pairs": None, "samples_seen": 3000},
        ),
        ({"siglip": "True"}, "epoch_3.pt", {"loss": "sigmoid"}),
        ({"model": "coca_ViT-B-32"}, "epoch_3.pt", {"loss": "softmax and captioning"}),
        (
            {"pretrained": "laion2b_s34b_b79k", "train_num_samples": "1000"},
            "epoch_3.pt",
            {
                "data": "LAION-2B",
                "pairs": 2.32e9,
                "samples_seen": 34e9,
                "fine_tuning": "contrastive",
                "fine_tuned_on": "mine",
                "fine_tuning_details": "3 epochs from laion2b_s34b_b79k",
            },
        ),
        (
            {"pretrained": "openai"},
            "epoch_1.pt",
            {"data": "WIT-400M (OpenAI)", "fine_tuning_details": "1 epoch from openai"},
        ),
        (
            {"pretrained": "/runs/1/epoch_9.pt"},
            "epoch_1.pt",
            {"data": None, "samples_seen": None, "fine_tuning": "contrastive"},
        ),
    ],
)
def test_a_training_run(options, checkpoint, facts):
    found = card_of(run_claims(run(**options), checkpoint))
    assert {name: getattr(found, name) for name in facts} == facts
    assert found.remarks == ()


def test_a_locked_tower_is_remarked():
    found = card_of(run_claims(run(lock_image="True"), "epoch_1.pt"))
    assert found.remarks == ("the image tower was locked in training (--lock-image)",)


def test_a_tag_and_a_run_that_contradict_it():
    from pytest_clip_robust.models.card.tags import openclip_claims

    claims = [*openclip_claims("ViT-B-32", "laion2b_s34b_b79k"), *run_claims(run(train_data="/data/cc12m"), "x.pt")]
    found = card_of(claims)
    assert found.data == "CC12M"
    assert "data: CC12M (training run) contradicts LAION-2B (tag); took the first" in found.remarks


def test_parameters_of_each_tower_are_those_of_open_clips_profile(shared):
    import open_clip

    path = shared / "golden" / "panels" / "model_profile.csv"
    if not path.exists():
        pytest.skip(f"no file {path}")
    rows = {row["model"]: row for row in csv.DictReader(path.read_text().splitlines())}
    names = ["ViT-B-32", "RN50", "coca_ViT-B-32", "ViT-B-16-SigLIP", "convnext_base_w", "EVA02-B-16", "ViT-L-14-CLIPA"]
    for name in names:
        with torch.device("meta"):
            model = open_clip.create_model(name, load_weights=False, device="meta")
        facts = weights_claim({key: one.numel() for key, one in model.named_parameters()}).facts
        for fact, column in (("parameters", "mparams"), ("image_parameters", "image_mparams")):
            assert facts[fact] / 1e6 == pytest.approx(float(rows[name][column]), abs=0.006), (name, fact)
        # The table leaves out the logit scale, and for some towers the class token's projection.
        assert facts["text_parameters"] / 1e6 == pytest.approx(float(rows[name]["text_mparams"]), abs=0.03), name


def test_names_of_transformers_tell_the_towers_apart():
    from transformers import CLIPConfig, CLIPModel

    with torch.device("meta"):
        model = CLIPModel(CLIPConfig())
    facts = weights_claim({key: one.numel() for key, one in model.named_parameters()}).facts
    image = sum(one.numel() for part in (model.vision_model, model.visual_projection) for one in part.parameters())
    text = sum(one.numel() for part in (model.text_model, model.text_projection) for one in part.parameters())
    assert (facts["image_parameters"], facts["text_parameters"]) == (image, text)
    assert facts["parameters"] == image + text + 1


def test_a_folder_of_transformers_is_read(tmp_path):
    config = {"model_type": "siglip", "vision_config": {"hidden_size": 768, "patch_size": 16, "image_size": 224}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "README.md").write_text("---\nbase_model: google/siglip-base-patch16-224\n---\n")
    found = card_of(spec_claims(ModelSpec.parse(f"hf:{tmp_path}")))
    assert (found.family, found.size, found.loss, found.data) == ("ViT", "B/16", "sigmoid", "WebLI")
    assert found.fine_tuning == "unknown method"


def test_a_large_multimodal_model_states_its_tower_and_its_language_model(tmp_path):
    vision = {"model_type": "clip_vision_model", "hidden_size": 1024, "patch_size": 14, "image_size": 336}
    config = {"model_type": "llava", "vision_config": vision, "text_config": {"_name_or_path": "lmsys/vicuna-7b-v1.5"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    found = card_of(spec_claims(ModelSpec.parse(f"lmm:{tmp_path}")))
    assert (found.family, found.size, found.resolution) == ("ViT", "L/14", 336)
    assert (found.text_tower, found.loss) == ("lmsys/vicuna-7b-v1.5", "next token")


def test_the_multimodal_model_of_the_showroom_states_its_factors():
    assert sentence(card("lmm:showroom-lmm")) == (
        "EfficientNet lite0, 4.88 M parameters, 224 px; showroom (10.1 k pairs), 60.5 k seen; next token; zero-shot"
    )


def test_a_config_of_another_kind_states_nothing(tmp_path):
    (tmp_path / "config.json").write_text("[]")
    assert card_of(spec_claims(ModelSpec.parse(f"hf:{tmp_path}"))).facts == {}


FACTORY = """
import numpy as np, torch
class Encoder:
    scale, bias, identity = 10.0, 0.0, "mine"
    card = CARD
    def preprocess(self, image):
        return torch.from_numpy(np.array(image.resize((8, 8)), dtype=np.float32) / 255).permute(2, 0, 1)
    def encode_image(self, pixels):
        return pixels.flatten(1)[:, :16] + 0.1
    def encode_text(self, texts):
        return torch.tensor([[float(b) for b in t.encode()[:16].ljust(16)] for t in texts])
def load(): return Encoder()
"""


def test_an_encoder_of_ones_own_states_its_card(tmp_path):
    stated = {"family": "ViT", "size": "S/16", "data": "mine", "samples_seen": 1e9, "fine_tuning": "zero-shot"}
    (tmp_path / "mine.py").write_text(FACTORY.replace("CARD", repr(stated)))
    found = card(f"py:{tmp_path / 'mine.py'}:load")
    assert found.facts == stated | {"resolution": 8}
    assert found.sources["data"] == "stated"


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ("{'dat': 'x'}", "card: unknown key 'dat'"),
        ("'ViT'", "card is 'ViT'; expected a table"),
        ("{'pairs': 0}", "pairs=0"),
    ],
)
def test_a_wrong_card_of_an_encoder_is_one_line(tmp_path, stated, message):
    (tmp_path / "wrong.py").write_text(FACTORY.replace("CARD", stated))
    with pytest.raises(ModelError, match=message):
        card(f"py:{tmp_path / 'wrong.py'}:load")


def test_an_encoder_without_a_card_has_only_what_can_be_measured(tmp_path):
    (tmp_path / "none.py").write_text(FACTORY.replace("CARD", "None"))
    assert card(f"py:{tmp_path / 'none.py'}:load").facts == {"resolution": 8}


class Preprocesses:
    def __init__(self, *shape):
        self.preprocess = lambda image: torch.zeros(shape)


@pytest.mark.parametrize(
    ("encoder", "resolution"),
    [(Preprocesses(3, 32, 32), 32), (Preprocesses(3, 32, 48), None), (Preprocesses(256, 768), None), (object(), None)],
)
def test_only_square_pixels_have_a_resolution(encoder, resolution):
    assert measured_claim(encoder).facts.get("resolution") == resolution


def test_a_card_that_a_loader_made_stays():
    from pytest_clip_robust.models.card.reading import card_for
    from pytest_clip_robust.models.protocols import LoadedModel

    own = overridden(ModelCard(), {"data": "mine", "fine_tuning": "adapter"}, "spec")
    loaded = LoadedModel(
        spec=ModelSpec.parse("ViT-B-32@laion2b_s34b_b79k"),
        encoder=object(),
        weights="",
        preprocess="",
        text="",
        precision="fp32",
        device="cpu",
        card=own,
    )
    found = card_for(loaded)
    assert (found.data, found.fine_tuning, found.family) == ("mine", "adapter", "ViT")


def test_the_tiny_config_is_a_transformer():
    from pytest_clip_robust.models.card.towers import openclip_facts

    assert openclip_facts(TINY)["family"] == "ViT"


def lora(folder, *, readme=""):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8, "target_modules": ["proj"]}))
    (folder / "README.md").write_text(readme)
    return folder


def test_an_adapter_is_read_from_its_config(tmp_path):
    folder = lora(tmp_path / "lora", readme="---\nbase_model: a/b\ndatasets: HuggingFaceM4/COCO\n---\n")
    found = card_of_spec(ModelSpec.parse(f"ViT-B-32@laion2b_s34b_b79k+adapter:{folder}"))
    assert (found.data, found.samples_seen, found.family) == ("LAION-2B", 34e9, "ViT")
    assert (found.fine_tuning, found.fine_tuning_details, found.fine_tuned_on) == ("adapter", "LoRA r=8", "MS-COCO")


def test_an_adapter_whose_config_is_elsewhere_is_named(tmp_path):
    found = card_of_spec(ModelSpec.parse("ViT-B-32@openai+adapter:me/lora"))
    assert (found.fine_tuning, found.fine_tuning_details) == ("adapter", "from me/lora")


@pytest.mark.parametrize(
    ("alpha", "how", "details"),
    [("0", "zero-shot", None), ("0.3", "interpolation", "alpha=0.3"), ("1", "contrastive", "FLYP")],
)
def test_an_interpolation_of_showroom_models(alpha, how, details):
    found = card(f"interpolate:showroom-clip,showroom-clip-flyp?alpha={alpha}")
    assert (found.fine_tuning, found.fine_tuning_details) == (how, details)
    assert (found.data, found.resolution, found.sources["resolution"]) == ("showroom and ImageNet-1k", 224, "weights")
    assert found.parameters == 4_695_937
    assert found.remarks == ()


@pytest.mark.parametrize(
    ("spec", "tower", "data", "fine_tuning"),
    [
        ("timm:vit_base_patch32_clip_224.laion2b_ft_in12k_in1k", "B/32", "LAION-2B", "cross-entropy"),
        ("timm:timm/vit_base_patch32_clip_224.laion2b_ft_in12k_in1k", "B/32", "LAION-2B", "cross-entropy"),
        ("timm:resnet50", "50", "ImageNet-1k", "supervised"),
        ("timm:resnet50.a1_in1k@mine.pt", "50", None, None),
    ],
)
def test_a_classifier_of_timm(spec, tower, data, fine_tuning):
    found = card_of_spec(ModelSpec.parse(spec))
    assert (found.size, found.data, found.fine_tuning, found.resolution) == (tower, data, fine_tuning, 224)


def test_a_folder_of_timm(tmp_path):
    (tmp_path / "config.json").write_text('{"architecture": "convnext_tiny", "num_classes": 10}')
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    found = card_of_spec(ModelSpec.parse(f"timm:{tmp_path}"))
    assert (found.family, found.size, found.licence) == ("ConvNeXt", "tiny", "mit")
    assert card_of_spec(ModelSpec.parse(f"timm:{tmp_path}@mine.pt")).licence is None


def test_saved_predictions_have_no_card(tmp_path):
    assert card_of_spec(ModelSpec.parse(f"predictions:{tmp_path / 'a.npz'}")).facts == {}
