"""Models that an earlier run has loaded: they are loaded again only to compute something."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pytest_clip_robust.errors import ModelError
from pytest_clip_robust.models import deferred, known, loading
from pytest_clip_robust.models.known import KnownModels, files_of
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system import versions

HOW = {"device": "cpu", "precision": "fp32", "compiled": False}
LMM = ModelSpec.parse("lmm:showroom-lmm")
TEXTS = ["a photo of a chair", "a photo of " + "a very long chair " * 40, "a lamp"]


@pytest.fixture(autouse=True)
def _not_a_working_copy(monkeypatch):
    """Tests do not depend on how this machine's libraries are installed."""
    monkeypatch.setattr(known, "releases", lambda: ("torch 2",))


@pytest.fixture
def loads(monkeypatch):
    """Return the specs that were loaded so far."""
    found = []

    def load(spec, **how):
        found.append(spec)
        return load_model(spec, **how)

    monkeypatch.setattr(loading, "load_model", load)
    return found


@pytest.fixture
def load(tmp_path_factory, loads):
    """Return a function that loads a model as a run of its own does."""
    cache = tmp_path_factory.mktemp("cache") / "models"

    def one_run(spec, use=lambda loaded: loaded, **changes):
        models = KnownModels(cache)
        result = use(models.load(spec, **HOW | changes))
        models.close()
        return result

    one_run.cache = cache
    return one_run


@pytest.fixture
def local(folder):
    """A small model of open_clip in a folder of the user, with a card."""
    (folder / "card.toml").write_text('data = "the showroom"\n')
    return folder


def spec_of(local):
    return ModelSpec.parse(f"local-dir:{local}")


@pytest.fixture
def small(local):
    return spec_of(local)


def plain(loaded):
    return {**{name: getattr(loaded, name) for name in known.PLAIN}, "notes": loaded.notes, "card": loaded.card}


@pytest.mark.parametrize("kind", ["clip", "lmm"])
def test_a_known_model_is_described_as_a_loaded_one_and_is_not_loaded(load, loads, small, kind):
    spec = LMM if kind == "lmm" else small
    first, second, direct = load(spec), load(spec), load_model(spec, device="cpu", precision="fp32")
    assert loads == [spec]
    for one in (first, second):
        assert plain(one) == plain(direct)
        assert (one.scale, one.bias, one.has_texts, one.head) == (direct.scale, direct.bias, direct.has_texts, None)
        assert one.encoder.identity == direct.encoder.identity
    if spec == LMM:
        assert second.multimodal.tower == direct.multimodal.tower


def test_a_known_model_encodes_as_a_loaded_one(load, loads, small):
    load(small)
    later, direct = load(small).encoder, load_model(small, device="cpu", precision="fp32").encoder
    pixels = torch.stack([direct.preprocess(Image.new("RGB", (90, 70), colour)) for colour in ("navy", "orange")])
    with torch.inference_mode():
        for ask in (
            lambda encoder: encoder.encode_image(pixels),
            lambda encoder: encoder.encode_dense(pixels.sigmoid()),
            lambda encoder: encoder.encode_text(TEXTS),
            lambda encoder: encoder.preprocess(Image.new("RGB", (33, 44), "red")),
        ):
            torch.testing.assert_close(ask(later), ask(direct), rtol=1e-4, atol=1e-5)
    assert later.preprocess_steps.identity == direct.preprocess_steps.identity
    assert loads == [small, small]


def test_what_the_tokenizer_said_of_texts_is_known_as_well(load, loads, small):
    def asked(loaded):
        return loaded.encoder.too_long(TEXTS)

    assert load(small, asked) == load(small, asked) == [False, True, False]
    assert loads == [small]
    assert load(small, lambda loaded: loaded.encoder.too_long(TEXTS[:1])) == [False]
    assert loads == [small, small]


def test_a_known_multimodal_model_tells_sizes_and_texts_and_answers_as_a_loaded_one(load, loads):
    image, questions = Image.new("RGB", (60, 50), "navy"), ["What is in this photo?"]

    def asked(loaded):
        model = loaded.multimodal
        tokens = [3, 5, 8]
        return [part.tolist() for part in model.sizes(*questions, ["chair", "a lamp"])], model.text(tokens)

    assert load(LMM, asked) == load(LMM, asked)
    assert loads == [LMM]
    direct = load_model(LMM, device="cpu", precision="fp32").multimodal
    heard = []

    def answered(loaded):
        loaded.encoder.notice = heard.append
        return loaded.multimodal.generate([image], questions, limit=4)

    assert load(LMM, answered) == direct.generate([image], questions, limit=4)
    sums = load(LMM, lambda loaded: loaded.multimodal.sums([image], *questions, ["chair", "lamp"]))
    np.testing.assert_array_equal(sums, direct.sums([image], *questions, ["chair", "lamp"]))


def test_only_so_many_texts_are_kept(monkeypatch):
    monkeypatch.setattr(deferred, "MOST_TEXTS", 2)
    texts = deferred.TextResults({})
    assert [texts.get("text", n, lambda n=n: n * n) for n in range(4)] == [0, 1, 4, 9]
    assert len(texts.found) == 2


def rewrite(path, content):
    """Replace the content of a file, with the same time of modification."""
    before = path.stat()
    other = path.with_name("other")
    other.write_bytes(content)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


def add_a_file(local):
    (local / "params.txt").write_text("model: x")


def change_the_settings(local):
    path = local / "open_clip_config.json"
    settings = json.loads(path.read_text())
    settings["preprocess_cfg"]["mean"] = [0.4, 0.4, 0.4]
    rewrite(path, json.dumps(settings).encode())


def change_the_card(local):
    rewrite(local / "card.toml", (local / "card.toml").read_bytes().replace(b"showroom", b"ballroom"))


@pytest.mark.parametrize("change", [add_a_file, change_the_settings, change_the_card])
def test_a_model_whose_files_changed_is_loaded_again(load, loads, local, change):
    load(spec_of(local))
    change(local)
    again = load(spec_of(local))
    assert len(loads) == 2
    assert plain(again) == plain(load_model(spec_of(local), device="cpu", precision="fp32"))


@pytest.mark.parametrize(
    ("name", "value"), [("releases", lambda: ("torch 3",)), ("_loaders", lambda: "other code")], ids=["torch", "code"]
)
def test_another_release_or_another_loader_loads_the_model_again(load, loads, monkeypatch, name, value, small):
    load(small)
    monkeypatch.setattr(known, name, value)
    load(small)
    assert len(loads) == 2


def test_another_precision_loads_the_model_again(load, loads, small):
    load(small)
    assert load(small, precision="bf16").precision == "bf16"
    assert len(loads) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"{}", b'{"content": {"weights": 1}, "digest": "0"}', None])
def test_a_damaged_record_is_not_believed(load, loads, damage, small):
    whole = plain(load(small))
    (record,) = load.cache.glob("*[!s].json")
    record.write_bytes(record.read_bytes().replace(b'"scale": ', b'"scale": 1') if damage is None else damage)
    assert plain(load(small)) == whole
    assert len(loads) == 2


def test_a_cache_that_cannot_be_written_is_no_error(loads, tmp_path, small):
    (tmp_path / "cache").write_text("a file, not a folder")
    for _ in range(2):
        models = KnownModels(tmp_path / "cache" / "models")
        assert models.load(small, **HOW).encoder.too_long(TEXTS) == [False, True, False]
        models.close()
    assert len(loads) == 2


def test_without_a_folder_nothing_is_kept(loads, small):
    for _ in range(2):
        KnownModels(None).load(small, **HOW)
    assert len(loads) == 2


def test_files_that_change_after_the_run_began_are_an_error_and_the_next_run_loads(load, loads, local):
    load(spec_of(local))
    later = load(spec_of(local))
    change_the_settings(local)
    for _ in range(3):
        with pytest.raises(ModelError, match="its preprocess changed after this run began: run again"):
            later.encoder.encode_text(TEXTS)
    assert len(loads) == 2, "a model that cannot be used is not loaded for every test"
    load(spec_of(local)).encoder.encode_text(TEXTS)


def test_files_that_change_while_the_model_is_loaded_are_not_believed(load, loads, local, monkeypatch):
    whole = loading.load_model

    def slow(spec, **how):
        loaded = whole(spec, **how)
        change_the_settings(local)
        return loaded

    with monkeypatch.context() as patch:
        patch.setattr(loading, "load_model", slow)
        old = load(spec_of(local)).preprocess
    assert load(spec_of(local)).preprocess != old


def test_a_file_that_cannot_be_read_is_the_error_of_the_loader(load, local):
    load(spec_of(local))
    (local / "open_clip_model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"open_clip_model\.safetensors"):
        load(spec_of(local))


class TestFilesOf:
    def test_a_folder_has_all_of_its_files(self, local):
        (local / ".git").mkdir()
        names = ["card.toml", "open_clip_config.json", "open_clip_model.safetensors"]
        assert [path.name for path in files_of(spec_of(local))] == names
        assert {*names, "tokenizer.json"} < {path.name for path in files_of(ModelSpec.parse("showroom-clip"))}
        assert "chat_template.jinja" in [path.name for path in files_of(LMM)]

    @pytest.mark.parametrize(
        "spec",
        [
            "ViT-B-32@openai",
            "hf-hub:org/repo",
            "hf:org/repo",
            "lmm:org/repo",
            "py:module:load",
            "lmm:{local}?remote_code=true",
            "local-dir:{local}+adapter:{local}",
            "local-dir:{local}@open_clip_model.safetensors",
            "interpolate:showroom-clip,showroom-clip-ft?alpha=0.5",
        ],
    )
    def test_what_is_not_certain_is_loaded(self, spec, local):
        assert files_of(ModelSpec.parse(spec.format(local=local))) is None

    def test_a_folder_of_a_trainer_with_checkpoints_in_it_is_loaded(self, local):
        (local / "checkpoint-10").mkdir()
        assert files_of(spec_of(local)) is None

    @pytest.mark.parametrize(("setting", "certain"), [("hf_tokenizer_name", True), ("hf_model_name", False)])
    def test_what_is_read_from_the_hub_is_not_certain(self, local, setting, certain):
        path = local / "open_clip_config.json"
        settings = json.loads(path.read_text())
        settings["model_cfg"]["text_cfg"][setting] = "org/texts"
        path.write_text(json.dumps(settings))
        assert files_of(spec_of(local)) is None
        (local / "tokenizer.json").write_text("{}")
        assert (files_of(spec_of(local)) is not None) == certain

    def test_a_checkpoint_comes_with_the_architecture_and_the_options_of_its_run(self, tmp_path, monkeypatch):
        monkeypatch.delitem(known.sys.modules, "open_clip", raising=False)
        checkpoint = tmp_path / "run" / "checkpoints" / "epoch_1.pt"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_bytes(b"weights")
        spec = ModelSpec.parse(f"ViT-B-32@{checkpoint}?quick_gelu=true")
        assert [path.name for path in files_of(spec)] == ["ViT-B-32.json", "epoch_1.pt"]
        (tmp_path / "run" / "params.txt").write_text("model: ViT-B-32")
        assert [path.name for path in files_of(spec)] == ["ViT-B-32.json", "epoch_1.pt", "params.txt"]
        (tmp_path / "best.pt").symlink_to(checkpoint)
        assert len(files_of(replace(spec, weights=str(tmp_path / "best.pt")))) == 3
        (tmp_path / "elsewhere.pt").write_bytes(b"weights")
        checkpoint.unlink()
        checkpoint.symlink_to(tmp_path / "elsewhere.pt")
        assert len(files_of(spec)) == 3
        for name in ("xlm-roberta-base-ViT-B-32", "no-such-architecture"):  # a tokenizer of the hub; none
            assert files_of(replace(spec, name=name)) is None

    def test_a_project_that_imported_open_clip_may_have_changed_its_architectures(self, tmp_path, monkeypatch):
        (tmp_path / "last.pt").write_bytes(b"weights")
        monkeypatch.setitem(known.sys.modules, "open_clip", pytest)
        assert files_of(ModelSpec.parse(f"ViT-B-32@{tmp_path / 'last.pt'}")) is None


@pytest.mark.parametrize(
    "origin",
    [
        '{"url": "file:///src", "dir_info": {"editable": true}}',
        '{"url":"file:///src","dir_info":{"editable":true}}',
        '{"url": "file:///sr',
        "[]",
    ],
    ids=["by pip", "by uv", "damaged", "no object"],
)
def test_a_working_copy_has_no_release(monkeypatch, origin):
    class Copy:
        version = "1.0"

        def read_text(self, name):
            return origin

    monkeypatch.undo()
    known.releases.cache_clear()
    assert known.releases() is None or known.releases()["torch"] == torch.__version__.partition("+")[0]
    known.releases.cache_clear()
    monkeypatch.setattr(versions.importlib.metadata, "distribution", lambda name: Copy())
    assert known.releases() is None
    known.releases.cache_clear()


def test_the_code_of_the_loaders_has_a_digest(monkeypatch, tmp_path):
    assert Path(known.__file__).parent.name == "models"
    monkeypatch.setattr(known, "__file__", str(tmp_path / "known.py"))
    found = set()
    for code in ("a = 1", "a = 2"):
        (tmp_path / "kind").mkdir(exist_ok=True)
        (tmp_path / "kind" / "loader.py").write_text(code)
        found.add(known._loaders.__wrapped__())
    assert len(found) == 2
