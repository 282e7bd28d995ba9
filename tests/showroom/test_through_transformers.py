"""The showroom's weights in a transformers folder: features, scale and verdicts are those of open_clip."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn.functional import normalize

sys.path.append(str(Path(__file__).resolve().parents[2] / "tools"))

from showroom import to_transformers

from pytest_clip_robust import showroom
from pytest_clip_robust.datasets.entry import parse_data_option
from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec

REPOSITORY = Path(__file__).resolve().parents[2]
NAME = "showroom-clip"
TEXTS = ["a photo of a chair.", "chair", "A RED Lamp, on a table!", "word " * 40, "Zoë's  sofa", ""]
SAME = 1e-6
"""The largest cosine distance of equal features."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("showroom") / "transformers"
    to_transformers.convert(showroom.model_folder(NAME), folder)
    return folder


@pytest.fixture(scope="module")
def through(folder):
    """The same model through open_clip and through transformers."""
    return [load_model(ModelSpec.parse(spec), device="cpu", precision="fp32") for spec in (NAME, f"hf:{folder}")]


@pytest.fixture(scope="module")
def pixels(through):
    """Photographs of every kind in the showroom, and noise, which reaches channels that photographs do not."""
    images = load_image_set(parse_data_option("line=showroom:shift_line"))
    preprocess = through[0].encoder.preprocess
    shown = torch.stack([preprocess(decode(images.read(i))) for i in range(0, 32, 4)])
    return torch.cat([shown, 2 * torch.randn(4, 3, 224, 224, generator=torch.Generator().manual_seed(0))])


def distances(first, second):
    return 1 - (normalize(first.double(), dim=1) * normalize(second.double(), dim=1)).sum(1)


def test_images_have_the_same_features_on_the_same_pixels(through, pixels):
    with torch.inference_mode():
        ours, theirs = (one.encoder.encode_image(pixels) for one in through)
    assert distances(ours, theirs).max() <= SAME
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)  # the same length too: nothing was left out
    assert distances(ours[:1], ours[1:]).min() > 1000 * SAME


def test_texts_have_the_same_features(through):
    with torch.inference_mode():
        ours, theirs = (one.encoder.encode_text(TEXTS) for one in through)
    assert distances(ours, theirs).max() <= SAME
    assert distances(ours[:1], ours[1:]).min() > 1000 * SAME
    assert [one.encoder.too_long(TEXTS) for one in through] == [[False, False, False, True, False, False]] * 2


def test_image_regions_have_the_same_features(through, pixels):
    inside = (pixels[:4, :, :160, :192] * 0.5 + 0.5).clamp(0, 1)
    with torch.inference_mode():
        ours, theirs = (one.encoder.encode_dense(inside) for one in through)
    assert ours.shape == theirs.shape
    assert distances(ours.flatten(2).mT.flatten(0, 1), theirs.flatten(2).mT.flatten(0, 1)).max() <= SAME


def test_the_scale_is_the_same(through):
    ours, theirs = (one.encoder for one in through)
    assert ours.scale == pytest.approx(theirs.scale, rel=1e-6)
    assert ours.bias == theirs.bias == 0


def test_it_is_another_model_to_the_feature_store(through):
    """Its library resizes differently, so that it has features of its own."""
    ours, theirs = through
    assert ours.preprocess != theirs.preprocess
    assert ours.weights != theirs.weights


PROFILE = """
name = "few"
[roles]
id = "few"
[data.few]
location = "few"
[prompts]
set = "simple-7"
[thresholds]
"zero_shot.top1" = { at_least = 0.99 }
"zero_shot.top5" = { at_least = 0.5 }
"""


def test_verdicts_on_photographs_are_the_same(folder, tmp_path):
    """Their pixels differ slightly between the libraries, so values may differ by a photograph."""
    images = load_image_set(parse_data_option("id=showroom:id"))
    for i in range(0, len(images), len(images) // 32):
        file = tmp_path / "few" / images.class_names[images.labels[i]] / f"{i}.webp"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(images.read(i))
    (tmp_path / "few.toml").write_text(PROFILE)
    command = [
        sys.executable, "-m", "pytest", str(REPOSITORY / "suites" / "test_zero_shot.py"), "-k", "test_accuracy",
        f"--model={NAME}", f"--model=hf:{folder}", "--clip-profile=few.toml", f"--rootdir={tmp_path}",
        "--clip-report=report", "-q", "-p", "no:cacheprovider",
    ]  # fmt: skip
    home = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=home)
    assert done.returncode == 1, done.stdout  # top-1 is below its threshold
    gates = json.loads((tmp_path / "report" / "report.json").read_text())["gates"]
    by_model = [{gate["metric"]: gate for gate in gates if gate["model"] == model} for model in (NAME, f"hf:{folder}")]
    ours, theirs = ({name: gate["verdict"] for name, gate in found.items()} for found in by_model)
    assert ours == theirs == {"zero_shot.top1": "below_threshold", "zero_shot.top5": "passed"}
    for name in ours:
        assert by_model[1][name]["value"] == pytest.approx(by_model[0][name]["value"], abs=2 / 32)


def test_a_model_of_another_architecture_is_refused(tmp_path):
    config = json.loads((showroom.model_folder(NAME) / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["timm_model_name"] = "resnet18"
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="timm_model_name='resnet18'; expected 'tf_efficientnet_lite0'"):
        to_transformers.convert(tmp_path, tmp_path / "out")
