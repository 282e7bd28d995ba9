from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import ImageOps

from pytest_clip_robust.datasets.images.decoding import decode
from pytest_clip_robust.encoding import encoder as encoder_module
from pytest_clip_robust.encoding.encoder import Encoder, image_key, text_key
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.pixels.cache import PixelCache
from pytest_clip_robust.encoding.store.features import FeatureStore
from pytest_clip_robust.errors import DataError, ModelError
from pytest_clip_robust.models.splitting import split

TOLERANCE = 1e-6
"""Cosine distance that batching may cause in fp32."""


def cosine_distances(features, others):
    units, other_units = (array / np.linalg.norm(array, axis=1, keepdims=True) for array in (features, others))
    return 1 - np.einsum("nd,nd->n", units.astype(np.float64), other_units.astype(np.float64))


def one_at_a_time(encoder, images):
    """Encode one image after the other."""
    rows = []
    for position in range(len(images)):
        pixels = torch.as_tensor(encoder.preprocess(decode(images.read(position))))[None]
        with torch.inference_mode():
            rows.append(encoder.encode_image(pixels).numpy()[0])
    return np.array(rows)


class OpenClipEncoder:
    """A small CLIP of open_clip's own classes with random weights."""

    scale, bias, identity = 100.0, 0.0, "random"

    def __init__(self):
        import open_clip

        torch.manual_seed(0)
        self.clip = open_clip.CLIP(
            embed_dim=32,
            vision_cfg={"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
            text_cfg={"context_length": 24, "width": 64, "heads": 2, "layers": 2},
        ).eval()
        self.preprocess = open_clip.image_transform(32, is_train=False)
        self.preprocess_steps = split(self.preprocess)
        self.tokenizer = open_clip.SimpleTokenizer(context_length=24)

    def encode_image(self, pixels):
        return self.clip.encode_image(pixels)

    def encode_text(self, texts):
        return self.clip.encode_text(self.tokenizer(texts))


@pytest.fixture(scope="module")
def open_clip_encoder():
    return OpenClipEncoder()


@pytest.fixture
def some_photos(image_set, png):
    """Return photos of many sizes, so that resizing changes them."""
    return image_set([png(seed, size=(20 + 3 * seed, 70 - 2 * seed)) for seed in range(19)])


@pytest.fixture(scope="module")
def plain_of():
    return {}


@pytest.fixture
def plain_features(open_clip_encoder, some_photos, plain_of):
    if not plain_of:
        plain_of["features"] = one_at_a_time(open_clip_encoder, some_photos)
    return plain_of["features"]


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 16, 19])
def test_features_equal_a_plain_loop_for_every_engine_setting(
    open_clip_encoder, load, some_photos, plain_features, tmp_path, batch_size, workers
):
    """Without a pixel cache, and with one that is empty, full, or has some of the images."""
    model = load(open_clip_encoder)
    cache = PixelCache(tmp_path / "pixels", limit=2**30)
    others = PixelCache(tmp_path / "others", limit=2**30)
    Encoder(FeatureStore(tmp_path / "part"), LocalEngine(pixels=others)).images(
        model, some_photos.take(np.arange(3, 9))
    )
    for turn, pixels in enumerate([None, cache, cache, others]):
        engine = LocalEngine(batch_size=batch_size, workers=workers, pixels=pixels)
        features = Encoder(FeatureStore(tmp_path / str(turn)), engine).images(model, some_photos)
        assert features.dtype == np.float32
        assert cosine_distances(features, plain_features).max() < TOLERANCE


@pytest.mark.parametrize(("batch_size", "workers"), [(1, 0), (4, 2), (64, 1)])
def test_features_of_an_encoder_without_steps_equal_a_plain_loop(model, encoder, photos, store, batch_size, workers):
    features = Encoder(store, LocalEngine(batch_size=batch_size, workers=workers)).images(model, photos)
    assert cosine_distances(features, one_at_a_time(encoder, photos)).max() < TOLERANCE


@pytest.mark.parametrize(("device", "batches"), [("cpu", [16, 4]), ("mps", [20])])
def test_a_cpu_has_smaller_batches(load, encoder, image_set, png, store, device, batches):
    Encoder(store, LocalEngine(workers=0)).images(
        load(encoder, device=device), image_set([png(seed) for seed in range(20)])
    )
    assert encoder.image_batches == batches


def test_features_are_not_normalised(model, encoder, photos, store):
    features = Encoder(store).images(model, photos)
    np.testing.assert_allclose(features, one_at_a_time(encoder, photos), rtol=1e-4, atol=1e-6)


def test_a_second_run_encodes_nothing_and_reads_no_image(model, photos, tmp_path):
    first = Encoder(FeatureStore(tmp_path)).images(model, photos)
    encoding = Encoder(FeatureStore(tmp_path))

    def read(_):
        pytest.fail("an image was read")

    second = encoding.images(model, replace(photos, read=read))
    assert not encoding.counts
    np.testing.assert_array_equal(second, first)


def test_equal_images_are_encoded_once(model, image_set, png, store):
    images = image_set([png(seed) for seed in (0, 1, 0, 2, 1, 0)])
    encoding = Encoder(store, LocalEngine(batch_size=2))
    features = encoding.images(model, images)
    assert encoding.counts["images"] == 3
    np.testing.assert_array_equal(features[[2, 4, 5]], features[[0, 1, 0]])
    assert len(np.unique(features, axis=0)) == 3


def test_an_image_that_another_set_had_is_not_encoded_again(model, image_set, png, store):
    encoding = Encoder(store)
    encoding.images(model, image_set([png(0), png(1)]))
    encoding.images(model, image_set([png(1), png(2)], name="other"))
    assert encoding.counts["images"] == 3


@pytest.mark.parametrize("change", ["weights", "preprocess", "precision"])
def test_another_model_encodes_again(model, photos, store, change):
    encoding = Encoder(store)
    encoding.images(model, photos)
    encoding.images(replace(model, **{change: "other"}), photos)
    assert encoding.counts["images"] == 2 * len(photos)


class Mirrored:
    """An alteration of images that the package does not know."""

    name = "photos, mirrored"

    def __init__(self, sources):
        self.sources = sources
        self.digests = [hashlib.sha256(f"mirrored {digest}".encode()).hexdigest() for digest in sources.digests]

    def __call__(self, image, position):
        return ImageOps.mirror(image)


def test_any_alteration_of_images_can_be_encoded(model, encoder, photos, store):
    encoding = Encoder(store, LocalEngine(batch_size=5, workers=2))
    plain, mirrored = encoding.images(model, photos), encoding.images(model, Mirrored(photos))
    expected = [
        encoder.encode_image(torch.as_tensor(encoder.preprocess(ImageOps.mirror(decode(photos.read(i)))))[None])
        for i in range(len(photos))
    ]
    assert cosine_distances(mirrored, torch.cat(expected).detach().numpy()).max() < TOLERANCE
    assert cosine_distances(mirrored, plain).max() > TOLERANCE
    assert encoding.counts["images"] == 2 * len(photos)


def test_a_cropped_border_gives_other_features(model, photos, store):
    whole = Encoder(store).images(model, photos)
    cut = Encoder(store).images(model, replace(photos, crop_border=2))
    assert image_key(model, photos) != image_key(model, replace(photos, crop_border=2))
    assert cosine_distances(whole, cut).max() > TOLERANCE


@given(st.lists(st.integers(0, 9), min_size=1, max_size=20), st.integers(1, 7))
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_with_any_repeats_gives_each_image_its_own_features(
    model, encoder, image_set, png, tmp_path_factory, seeds, batch_size
):
    images = image_set([png(seed) for seed in seeds])
    store = FeatureStore(tmp_path_factory.mktemp("store"))
    encoding = Encoder(store, LocalEngine(batch_size=batch_size, workers=0))
    Encoder(store, LocalEngine(workers=0)).images(model, image_set([png(seed) for seed in range(0, 10, 2)]))
    features = encoding.images(model, images)
    assert encoding.counts["images"] == len({seed for seed in seeds if seed % 2})
    assert cosine_distances(features, one_at_a_time(encoder, images)).max() < TOLERANCE


def test_an_empty_set_of_texts_has_no_features(model, store):
    assert Encoder(store).texts(model, []).shape[0] == 0


def test_only_the_rows_of_a_damaged_shard_are_encoded_again(model, photos, tmp_path, notices, monkeypatch):
    monkeypatch.setattr(encoder_module, "FLUSH_ROWS", 4)
    first = Encoder(FeatureStore(tmp_path), LocalEngine(batch_size=4)).images(model, photos)
    shard = min(tmp_path.rglob("*.parquet"))
    rows = 3 if shard.stat().st_size < max(path.stat().st_size for path in tmp_path.rglob("*.parquet")) else 4
    shard.write_bytes(shard.read_bytes()[:-1])
    encoding = Encoder(FeatureStore(tmp_path, notice=notices.append), LocalEngine(batch_size=4))
    again = encoding.images(model, photos)
    assert encoding.counts["images"] == rows
    assert len(notices) == 1
    assert cosine_distances(first, again).max() < TOLERANCE


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_was_encoded_before_an_error_is_kept(model, encoder, photos, store, monkeypatch, error):
    encode = encoder.encode_image

    def fail_at_the_third(pixels):
        if len(encoder.image_batches) == 2:
            raise error
        return encode(pixels)

    monkeypatch.setattr(encoder, "encode_image", fail_at_the_third)
    with pytest.raises(error):
        Encoder(store, LocalEngine(batch_size=5)).images(model, photos)
    monkeypatch.undo()
    encoding = Encoder(store, LocalEngine(batch_size=5))
    encoding.images(model, photos)
    assert encoding.counts["images"] == len(photos) - 10


def test_what_was_encoded_before_an_unreadable_image_is_kept(model, image_set, png, store):
    files = [png(seed) for seed in range(12)]
    with pytest.raises(DataError, match=r"image '9\.png'"):
        Encoder(store, LocalEngine(batch_size=4)).images(model, image_set([*files[:9], b"not an image", *files[9:]]))
    encoding = Encoder(store)
    encoding.images(model, image_set(files))
    assert encoding.counts["images"] == 4


SLOW_RUN = """
import runpy, sys, time
from pytest_clip_robust.encoding import encoder as module
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.encoding.store.features import FeatureStore
world = runpy.run_path(sys.argv[1])
model = world["loaded_model"](world["FakeEncoder"]())
images = world["build_image_set"]([world["random_png"](seed) for seed in range(400)])
encode = model.encoder.encode_image
def slowly(pixels):
    time.sleep(0.1)
    return encode(pixels)
model.encoder.encode_image = slowly
module.FLUSH_ROWS = 8
module.Encoder(FeatureStore(sys.argv[2]), LocalEngine(batch_size=8)).images(model, images)
"""


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_run_resumes_where_it_was(model, encoder, image_set, png, tmp_path):
    script = tmp_path / "slow_run.py"
    script.write_text(SLOW_RUN)
    store = tmp_path / "store"
    process = subprocess.Popen([sys.executable, script, Path(__file__).with_name("conftest.py"), store])
    wait_until(lambda: len(list(store.rglob("*.parquet"))) >= 3)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    images = image_set([png(seed) for seed in range(400)])
    kept = 8 * len(list(store.rglob("*.parquet")))
    encoding = Encoder(FeatureStore(store))
    features = encoding.images(model, images)
    assert 0 < encoding.counts["images"] == len(images) - kept
    assert cosine_distances(features, one_at_a_time(encoder, images)).max() < TOLERANCE


def test_a_shard_is_written_every_few_rows(model, photos, store, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_module, "FLUSH_ROWS", 10)
    Encoder(store, LocalEngine(batch_size=5)).images(model, photos)
    assert len(list(tmp_path.rglob("*.parquet"))) == 3


def test_a_slow_model_writes_a_shard_after_a_while(model, photos, store, tmp_path, monkeypatch):
    monkeypatch.setattr(encoder_module, "FLUSH_SECONDS", 0)
    Encoder(store, LocalEngine(batch_size=5)).images(model, photos)
    assert len(list(tmp_path.rglob("*.parquet"))) == 5


def run_out_of_memory_above(encoder, limit):
    encode_image, encode_text = encoder.encode_image, encoder.encode_text

    def checked(encode):
        def run(batch):
            if len(batch) > limit:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return encode(batch)

        return run

    encoder.encode_image, encoder.encode_text = checked(encode_image), checked(encode_text)


def test_when_memory_runs_out_the_batch_is_halved_for_good(model, encoder, photos, store, notices):
    expected = one_at_a_time(encoder, photos)
    encoder.image_batches.clear()
    run_out_of_memory_above(encoder, 3)
    features = Encoder(store, LocalEngine(batch_size=10, notice=notices.append)).images(model, photos)
    assert encoder.image_batches == [2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1]
    assert cosine_distances(features, expected).max() < TOLERANCE
    assert notices == [
        "fake: a batch of 10 does not fit into the device's memory; continuing with 5",
        "fake: a batch of 5 does not fit into the device's memory; continuing with 2",
    ]


def test_texts_are_halved_as_well(model, encoder, store):
    run_out_of_memory_above(encoder, 2)
    assert len(Encoder(store, LocalEngine(notice=lambda _: None)).texts(model, ["a", "bb", "ccc"])) == 3


def test_a_model_too_large_for_one_image_is_an_error_of_one_line(model, encoder, photos, store):
    run_out_of_memory_above(encoder, 0)
    with pytest.raises(ModelError) as error:
        Encoder(store, LocalEngine(batch_size=2, notice=lambda _: None)).images(model, photos)
    assert str(error.value) == "fake: one sample does not fit into the device's memory: try --clip-device cpu"


def test_features_that_are_nan_name_the_first_sample(model, encoder, photos, store, tmp_path, monkeypatch):
    encode = encoder.encode_image

    def spoil(pixels):
        features = encode(pixels)
        if len(encoder.image_batches) == 2:
            features[1, 0] = torch.nan
        return features

    monkeypatch.setattr(encoder, "encode_image", spoil)
    with pytest.raises(ModelError) as error:
        Encoder(store, LocalEngine(batch_size=5)).images(model, photos)
    assert str(error.value) == (
        "fake: the features of '6.png' are NaN or infinite: check the checkpoint, or try --clip-precision fp32"
    )


def test_features_of_the_wrong_shape_are_refused(model, encoder, photos, store, monkeypatch):
    monkeypatch.setattr(encoder, "encode_image", lambda pixels: pixels)
    with pytest.raises(ModelError) as error:
        Encoder(store, LocalEngine(batch_size=5)).images(model, photos)
    assert str(error.value) == "fake: features of shape (5, 3, 16, 16) for 5 samples: expected (5, D)"


def test_a_model_that_changed_without_its_identity_is_refused(model, load, make_encoder, image_set, png, store):
    Encoder(store).images(model, image_set([png(0)]))
    with pytest.raises(ModelError) as error:
        Encoder(store).images(load(make_encoder(dimensions=6)), image_set([png(0), png(1)]))
    key = image_key(model, image_set([png(0)]))
    assert str(error.value) == (
        f"fake: {store.location(key)} holds features with 8 dimensions, and the model returned 6: "
        "its identity must change when the model does"
    )


def test_half_precision_features_become_float32(model, encoder, photos, store, monkeypatch):
    encode = encoder.encode_image
    monkeypatch.setattr(encoder, "encode_image", lambda pixels: encode(pixels).bfloat16())
    assert Encoder(store).images(model, photos).dtype == np.float32


def test_progress_counts_the_missing_samples(model, image_set, png, store):
    calls = []

    @contextlib.contextmanager
    def progress(*what):
        calls.append(what)
        yield calls.append

    Encoder(store, progress=progress).images(model, image_set([png(0)]))
    Encoder(store, LocalEngine(batch_size=3), progress=progress).images(
        model, image_set([png(seed) for seed in range(6)])
    )
    assert calls == [("images", "photos", 1), 1, ("images", "photos", 5), 3, 2]


TEXTS = ["a photo of a cat", "a cat", "dog", "a bad picture of the face", "a cat", "a dog bag"]


def test_texts_come_back_in_their_order_and_each_is_encoded_once(model, encoder, store):
    encoding = Encoder(store, LocalEngine(text_batch_size=2))
    features = encoding.texts(model, TEXTS)
    assert encoding.counts["texts"] == 5
    np.testing.assert_array_equal(features, encoder.encode_text(TEXTS))


def test_texts_of_about_equal_length_share_a_batch(model, encoder, store):
    Encoder(store, LocalEngine(text_batch_size=2)).texts(model, TEXTS)
    assert encoder.text_batches == [["dog", "a cat"], ["a dog bag", "a photo of a cat"], ["a bad picture of the face"]]


def test_texts_of_a_second_run_are_not_encoded(model, tmp_path):
    encoding = Encoder(FeatureStore(tmp_path))
    for _ in range(2):
        encoding.texts(model, TEXTS)
    assert encoding.counts["texts"] == 5


def test_another_tokenizer_encodes_texts_again(model, store):
    encoding = Encoder(store)
    encoding.texts(model, TEXTS)
    encoding.texts(replace(model, text="other"), TEXTS)
    assert encoding.counts["texts"] == 10


@pytest.mark.parametrize("batch_size", [1, 3, 256])
def test_text_features_of_an_open_clip_model_do_not_depend_on_the_batch(open_clip_encoder, load, store, batch_size):
    features = Encoder(store, LocalEngine(text_batch_size=batch_size)).texts(load(open_clip_encoder), TEXTS)
    with torch.inference_mode():
        alone = np.concatenate([open_clip_encoder.encode_text([text]).numpy() for text in TEXTS])
    assert cosine_distances(features, alone).max() < TOLERANCE


@pytest.mark.parametrize("locked", [True, False])
def test_workers_that_lack_the_same_prompts_encode_them_once(model, encoder, tmp_path, monkeypatch, locked):
    encode_text = encoder.encode_text
    monkeypatch.setattr(encoder, "encode_text", lambda texts: time.sleep(0.1) or encode_text(texts))

    def work(_):
        encoding = Encoder(FeatureStore(tmp_path / "features"), lock_folder=tmp_path if locked else None)
        return encoding.texts(model, TEXTS), encoding.counts["texts"]

    with ThreadPoolExecutor(2) as pool:
        (first, first_count), (second, second_count) = pool.map(work, range(2))
    np.testing.assert_array_equal(first, second)
    assert first_count + second_count == len(set(TEXTS)) * (1 if locked else 2)


def test_prompts_are_encoded_after_a_limit_if_another_process_keeps_the_lock(model, tmp_path, notices, monkeypatch):
    monkeypatch.setattr(encoder_module, "PROMPT_LOCK_SECONDS", 0.05)
    encoding = Encoder(FeatureStore(tmp_path / "features"), lock_folder=tmp_path, notice=notices.append)
    with FileLock(tmp_path / f"{text_key(model).folder}.lock"):
        assert encoding.texts(model, TEXTS).shape == (len(TEXTS), 8)
    assert encoding.counts["texts"] == len(set(TEXTS))
    assert notices[-1].startswith(
        "continuing without a lock: another process, which encodes the same prompts, has held"
    )


@pytest.mark.parametrize("text", ["", "\ud800", "naïve ☃", "x\x00y"])
def test_any_string_can_be_a_text(model, store, text):
    assert Encoder(store).texts(model, [text, "dog"]).shape == (2, 8)


def test_a_text_whose_features_are_nan_is_named(model, encoder, store, monkeypatch):
    monkeypatch.setattr(encoder, "encode_text", lambda texts: np.full((len(texts), 4), np.nan))
    with pytest.raises(ModelError, match=r"^fake: the features of 'dog' are NaN or infinite"):
        Encoder(store).texts(model, ["dog"])


def test_workers_and_model_overlap(model, encoder, image_set, png, store, tmp_path, monkeypatch):
    """Images are preprocessed while the model encodes; counted and not timed, so that a slow machine does not fail."""
    encode, preprocess, busy = encoder.encode_image, encoder.preprocess, []

    def slowly_encode(pixels):
        started = time.monotonic()
        time.sleep(0.1)
        busy.append((started, time.monotonic()))
        return encode(pixels)

    def note_time(image):
        time.sleep(0.02)
        with (tmp_path / "times").open("a") as file:
            file.write(f"{time.monotonic()}\n")
        return preprocess(image)

    monkeypatch.setattr(encoder, "encode_image", slowly_encode)
    monkeypatch.setattr(encoder, "preprocess", note_time)
    images = image_set([png(seed) for seed in range(60)])
    Encoder(store, LocalEngine(batch_size=4, workers=1)).images(model, images)
    times = [float(line) for line in (tmp_path / "times").read_text().splitlines()]
    overlapped = [any(started < moment < ended for moment in times) for started, ended in busy]
    assert len(busy) == 15
    assert sum(overlapped) >= 5


def test_workers_run_in_other_processes(model, encoder, photos, store, tmp_path, monkeypatch):
    preprocess = encoder.preprocess

    def note(image):
        (tmp_path / f"{os.getpid()}.pid").touch()
        return preprocess(image)

    monkeypatch.setattr(encoder, "preprocess", note)
    Encoder(store, LocalEngine(batch_size=4, workers=2)).images(model, photos)
    processes = {path.stem for path in tmp_path.glob("*.pid")}
    assert len(processes) == 2
    assert str(os.getpid()) not in processes
