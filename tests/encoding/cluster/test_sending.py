from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.corruptions.images import CorruptedImages
from pytest_clip_robust.datasets.images.loading import load_image_set
from pytest_clip_robust.encoding.cluster.sending import check_identity, without_weights
from pytest_clip_robust.encoding.engines.base import ImageJob
from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models.loading import load_unchecked
from pytest_clip_robust.models.spec import ModelSpec


@pytest.fixture(scope="module")
def showroom_model():
    return load_unchecked(ModelSpec.parse("showroom-clip"), device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def showroom_images(tmp_path_factory):
    entry = load_profile("showroom", []).data["showroom-id"]
    return load_image_set(entry, cache_dir=tmp_path_factory.mktemp("data"))


def test_a_job_is_sent_without_its_weights(showroom_model, showroom_images):
    assert len(showroom_images) == 384
    positions = {digest: place for place, digest in enumerate(showroom_images.digests)}
    job = ImageJob(model=showroom_model, images=showroom_images, positions=positions)
    assert len(pickle.dumps(job)) > 5_000_000
    sent = pickle.dumps(without_weights(job))
    assert len(sent) < 100_000
    again = pickle.loads(sent)
    assert again.images.read(7) == showroom_images.read(7)
    check_identity(again.model, showroom_model, where="here")


def test_a_job_of_corrupted_images_is_sent_with_what_makes_them(showroom_model, showroom_images):
    some = showroom_images.take(np.arange(60))
    corrupted = CorruptedImages(images=some, kind="iso_noise", severities=(1, 3, 5))
    positions = {digest: place for place, digest in enumerate(corrupted.digests)}
    job = ImageJob(model=showroom_model, images=corrupted.sources, positions=positions, alter=corrupted)
    sent = pickle.dumps(without_weights(job))
    assert len(sent) < 100_000
    assert pickle.loads(sent).alter.digests == corrupted.digests


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"weights": "ab" * 32},
            r"^model fake: its weights on gpu7 is 0{12}\.\.\., and here (ab){6}\.\.\.; give every",
        ),
        ({"preprocess": "cd" * 32}, "its preprocess on gpu7 .* install the same versions"),
        ({"text": "ef" * 32}, "its text on gpu7 .* install the same tokenizer"),
        ({"precision": "bf16"}, "its arithmetic on gpu7 is fp32, and here bf16-cpu; choose a --clip-device"),
    ],
)
def test_another_model_under_the_same_name_is_refused(model, changes, message):
    model = replace(model, spec=ModelSpec.parse("fake"))
    check_identity(model, model, where="gpu7")
    with pytest.raises(ModelError, match=message):
        check_identity(replace(model, **changes), model, where="gpu7")
