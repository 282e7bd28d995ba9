"""Models are loaded whole, from folders and the hub, and what cannot be asked about images is refused with one line."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
import transformers as hf
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_lmms import BUILD, asked, built, photo, save, tokenizer

from pytest_clip_robust.errors import DataError, ModelError
from pytest_clip_robust.models import memory
from pytest_clip_robust.models.hugging_face import folder as folder_module
from pytest_clip_robust.models.lmm.families import FAMILIES
from pytest_clip_robust.models.lmm.loader import _settings, load_lmm
from pytest_clip_robust.models.lmm.passes import Passes
from pytest_clip_robust.models.spec import ModelSpec
from pytest_clip_robust.system.hub import HubError

QUESTION = "What type of object is in this photo?"
NAMES = ["boat", "boat house", "dog", "German shepherd dog"]


def load(name, *, revision="", remote_code=False, **options):
    settings = [*([("revision", revision)] if revision else []), *([("remote_code", "true")] if remote_code else [])]
    spec = ModelSpec(kind="lmm", name=str(name), options=tuple(settings))
    return load_lmm(spec, **({"device": "cpu", "precision": "fp32"} | options))


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Return a function that returns the folder of a family; tests must not change it."""
    return cache(lambda family: save(built(family), tmp_path_factory.mktemp("model")))


@pytest.fixture
def copy_of(folder_of, tmp_path):
    """Return a function that returns a folder of a family that the test may change."""
    return lambda family: shutil.copytree(folder_of(family), tmp_path / family)


@pytest.fixture
def llava(copy_of):
    return copy_of("llava")


def edit(file, change):
    """Change the content of a JSON file."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def edit_weights(folder, change):
    parameters = load_file(folder / "model.safetensors")
    change(parameters)
    save_file(parameters, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("family", BUILD)
def test_a_folder_gives_the_model_that_was_saved(family, folder_of):
    model = load(folder_of(family))
    found = model.likelihoods(photo(), QUESTION, NAMES)
    # Folding the tower's normalisation into its convolutions rounds: by 5e-7 of a sum.
    expected = asked(family).likelihoods(photo(), QUESTION, NAMES)
    np.testing.assert_allclose(found.sums, expected.sums, rtol=2e-6, atol=1e-5)
    form = "no chat template: asked as '<image>answer en {question}', the form of PaliGemma"
    assert model.notes == ((form,) if family == "paligemma" else ())


def test_every_family_is_known_and_built_here():
    assert list(FAMILIES) == list(BUILD)
    assert all(kind in hf.CONFIG_MAPPING for kind in FAMILIES)


# identity


def test_an_identity_is_that_of_weights_processor_template_and_precision(folder_of, copy_of):
    plain = folder_of("llava")

    def changed(change):
        folder = copy_of("llava")
        change(folder)
        found = load(folder).identity
        shutil.rmtree(folder)
        return found

    def weights(folder):
        edit_weights(folder, lambda parameters: next(iter(parameters.values())).add_(0.01))

    def pixels(folder):
        edit(folder / "processor_config.json", lambda content: content["image_processor"].update(image_mean=[0.5] * 3))

    def chat(folder):
        turns = (folder / "chat_template.jinja").read_text()
        (folder / "chat_template.jinja").write_text(turns.replace("USER: ", "HUMAN: "))

    def layer(folder):
        edit(folder / "config.json", lambda content: content.update(vision_feature_layer=-1))

    def vocabulary(folder):
        def swap(content):
            content["model"]["vocab"] |= {"a": content["model"]["vocab"]["b"], "b": content["model"]["vocab"]["a"]}

        edit(folder / "tokenizer.json", swap)

    identities = [load(plain).identity, load(plain, precision="bf16").identity]
    identities += [changed(change) for change in (weights, pixels, chat, layer, vocabulary)]
    assert len(set(identities)) == len(identities)
    assert changed(lambda folder: None) == identities[0]  # another place is the same model


@pytest.mark.parametrize("family", BUILD)
def test_the_settings_of_a_processor_are_values_that_every_process_writes_equally(family):
    processor = built(family)[1]
    for part in (processor, processor.image_processor):
        text = json.dumps(_settings(part))
        assert " at 0x" not in text  # an object
        assert '"{' not in text  # a set, whose order is another in each process


def test_half_precision_is_that_of_the_parameters(folder_of):
    model = load(folder_of("llava"), precision="bf16")
    assert model.cache_bytes == load(folder_of("llava")).cache_bytes / 2
    assert np.isfinite(model.likelihoods(photo(), QUESTION, NAMES).sums).all()


def test_images_are_resized_by_lanczos_if_the_processor_says_so(llava):
    """With torchvision before 0.27, transformers resizes bicubically in its place, without an error."""
    plain = {"resample": int(Image.Resampling.LANCZOS), "image_mean": [0.0] * 3, "image_std": [1.0] * 3}
    edit(llava / "processor_config.json", lambda content: content["image_processor"].update(plain))
    model = load(llava)
    found = model._tensors([model._wording.ask(QUESTION).prompt], [photo(80, 80)])["pixel_values"][0]
    expected = np.asarray(photo(80, 80).resize((32, 32), Image.Resampling.LANCZOS), dtype=np.float32) / 255
    np.testing.assert_allclose(found, expected.transpose(2, 0, 1), rtol=0, atol=1e-6)


# how a model is asked


def test_a_template_of_the_tokenizer_is_used(llava):
    turns = (llava / "chat_template.jinja").read_text()
    (llava / "chat_template.jinja").unlink()
    edit(llava / "tokenizer_config.json", lambda content: content.update(chat_template=turns))
    found = load(llava).likelihoods(photo(), QUESTION, NAMES)
    np.testing.assert_allclose(found.sums, asked("llava").likelihoods(photo(), QUESTION, NAMES).sums, rtol=0, atol=1e-5)


def test_without_a_template_the_documented_form_is_used_and_noted(llava):
    (llava / "chat_template.jinja").unlink()
    model = load(llava)
    assert model.notes == (r"no chat template: asked as 'USER: <image>\n{question} ASSISTANT:', the form of LLaVA 1.5",)
    found = model.likelihoods(photo(), QUESTION, NAMES)
    np.testing.assert_allclose(found.sums, asked("llava").likelihoods(photo(), QUESTION, NAMES).sums, rtol=0, atol=1e-5)


def test_braces_in_a_question_are_text(folder_of):
    model = load(folder_of("paligemma"))
    assert model._wording.ask("{0} {question}?").prompt == "<image>answer en {0} {question}?"
    assert len(model.likelihoods(photo(), "{} or {question}?", NAMES).sums) == len(NAMES)


@pytest.mark.parametrize("family", sorted(set(BUILD) - {"llava", "llava_next", "paligemma"}))
def test_other_families_need_their_template(family, copy_of):
    folder = copy_of(family)
    (folder / "chat_template.jinja").unlink()
    fails(folder, r"\w.* with language model '\w+' has no chat template: copy chat_template.jinja from the model")


def test_a_start_token_in_the_template_is_not_doubled(folder_of):
    model = load(folder_of("gemma3"))
    tokens = model._tensors([model._wording.ask(QUESTION).prompt], [photo()])["input_ids"][0].tolist()
    start = model._tokenizer.bos_token_id
    assert tokens[0] == start
    assert tokens.count(start) == 1


@pytest.mark.parametrize(
    ("turns", "message"),
    [
        ("{% for m in messages %}{{ m['content'] }}{% endfor %}", "its chat template writes 0 times '<image>' for one"),
        ("<image>{{ messages[0]['content'][1]['text'] }}<image>", "its chat template writes 2 times '<image>' for one"),
        ("{{ messages[0].content.nothing.at_all }}", "its chat template cannot be used: UndefinedError"),
        ("{{ raise_exception('no images') }}", "its chat template cannot be used: TemplateError: no images"),
    ],
)
def test_a_template_that_places_no_image_is_refused(turns, message, llava):
    (llava / "chat_template.jinja").write_text(turns)
    fails(llava, message)


# input that is refused


def fails(name, message, error=ModelError, **options):
    with pytest.raises(error, match=message) as found:
        load(name, **options)
    assert str(found.value).startswith(f"model lmm:{name}")
    assert "\n" not in str(found.value)


def test_a_folder_must_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fails("no/such/folder", "no folder no/such/folder; write lmm:FOLDER or lmm:ORGANISATION/REPOSITORY")
    fails(tmp_path, "has no config.json; expected a folder that save_pretrained wrote")


def test_missing_other_and_nan_parameters_are_refused(llava, copy_of):
    edit_weights(llava, lambda parameters: parameters.pop("language_model.lm_head.weight"))
    fails(llava, "does not fit LlavaForConditionalGeneration: it lacks 1 parameters, first 'lm_head.weight'")
    shutil.rmtree(llava)
    folder = copy_of("llava")
    edit_weights(folder, lambda parameters: parameters.update(extra=torch.zeros(2)))
    fails(folder, "it has 1 parameters that are not part of the model, first 'extra'")
    shutil.rmtree(folder)
    folder = copy_of("llava")
    edit_weights(folder, lambda parameters: parameters["language_model.lm_head.weight"][0].fill_(torch.nan))
    fails(folder, "1 of [0-9]+ parameters are NaN or infinite, first 'lm_head.weight'")


def test_a_truncated_file_is_refused(llava):
    content = (llava / "model.safetensors").read_bytes()
    (llava / "model.safetensors").write_bytes(content[: len(content) // 2])
    fails(llava, "cannot be loaded, it is damaged or truncated")


def test_a_quantised_model_is_refused(llava):
    edit(llava / "config.json", lambda content: content.update(quantization_config={"quant_method": "awq"}))
    fails(llava, r"its weights are quantised \(awq\)")


def test_a_model_that_is_too_large_is_refused_by_its_size_at_the_precision(folder_of, monkeypatch):
    folder = folder_of("llava")
    size = sum(one.numel() for one in load_file(folder / "model.safetensors").values())
    monkeypatch.setattr(memory, "free_memory", lambda: 3 * size / 2**30)  # bytes for each parameter
    fails(folder, "is too large for this machine")
    assert load(folder, precision="fp16").context == 1024


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("llama", "model type 'llama' does not answer questions about images; expected one of LLaVA 1.5, LLaVA 1.6"),
        ("clip", r"'clip' does not answer .* images; for the features of a model such as CLIP write hf:.*; expected"),
        ("florence2", "model type 'florence2' answers questions about images in a way that was not tested; expected"),
        ("llava_nxt", r"has no model type 'llava_nxt' \(did you mean .*llava_next"),
        (None, "has no model type None"),
    ],
)
def test_models_of_other_kinds_are_refused_before_anything_is_read(kind, message, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": kind}))
    fails(tmp_path, message)


def test_a_processor_without_an_image_part_is_refused(llava):
    (llava / "processor_config.json").write_text("{}")
    fails(llava, "its processor")


def test_a_folder_with_a_tokenizer_alone_is_refused(llava, monkeypatch):
    own = tokenizer(starts=True, image_token="<image>")
    monkeypatch.setattr(hf.AutoProcessor, "from_pretrained", lambda *_, **__: own)
    fails(llava, r"its processor, \w+, has no part for images; copy processor_config.json and preprocessor_config.json")


def test_smolvlm_without_num2words_says_what_to_install(folder_of, monkeypatch):
    folder = folder_of("smolvlm")  # before the package is hidden, in case no test before this one has built it
    monkeypatch.setattr("transformers.models.smolvlm.processing_smolvlm.num2words", None)
    fails(folder, "its processor needs a package that is not installed: num2words; run pip install num2")


def test_a_processor_that_writes_another_number_of_image_tokens_is_refused(llava):
    edit(llava / "processor_config.json", lambda content: content.update(num_additional_image_tokens=0))
    fails(
        llava,
        "a pass fails: ValueError: Image features and image tokens do not match.*; its processor writes another number "
        "of image tokens than the model has features: copy processor_config.json",
    )


def test_a_processor_that_fails_is_refused(llava):
    edit(llava / "processor_config.json", lambda content: content["image_processor"].update(image_mean=[0.5] * 2))
    fails(llava, "its processor fails: RuntimeError: The size of tensor a")


def test_a_model_that_does_not_see_the_image_is_refused(llava):
    def blind(parameters):
        for name, one in parameters.items():
            if "projector" in name:
                one.zero_()

    edit_weights(llava, blind)
    fails(llava, "two different images have exactly the same answer, so the image does not reach the language model")


def test_a_model_whose_questions_see_their_answers_is_refused(folder_of, monkeypatch):
    """It is so with PaliGemma in older versions of transformers, without any error."""
    monkeypatch.setitem(FAMILIES, "paligemma", replace(FAMILIES["paligemma"], answer_type=0))
    fails(folder_of("paligemma"), r"an answer changes what is before it, by [\d.]+ nats, .*; upgrade transformers$")


def test_a_question_longer_than_the_context_is_refused(folder_of):
    model = load(folder_of("llava"))
    with pytest.raises(DataError, match=r"and question and image take [\d,]+ of the 1,024 that the model can read"):
        model.likelihoods(photo(), "dog " * 2000, NAMES)
    with pytest.raises(DataError, match=r"and question and image take [\d,]+ of the 1,024 that the model can read"):
        model.answers([photo()], ["dog " * 2000], limit=5)


# code of a repository

CODE = """
from transformers import LlavaConfig, LlavaForConditionalGeneration
open("code ran", "w").close()
class OwnConfig(LlavaConfig):
    model_type = "own_lmm"
class OwnModel(LlavaForConditionalGeneration):
    config_class = OwnConfig
"""


@pytest.fixture
def own(llava, monkeypatch, tmp_path):
    """A model with code of its own, of a type that transformers does not know."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.chdir(tmp_path)
    (llava / "own.py").write_text(CODE)
    # The library renames the parameters of types that it knows.
    save_file(built("llava")[0].state_dict(), llava / "model.safetensors", metadata={"format": "pt"})
    mapped = {"AutoConfig": "own.OwnConfig", "AutoModelForImageTextToText": "own.OwnModel"}
    edit(llava / "config.json", lambda content: content.update(model_type="own_lmm", auto_map=mapped))
    return llava


def test_code_of_a_repository_does_not_run(own, tmp_path):
    fails(own, "model type 'own_lmm' would run Python code of its repository; read that code, then allow it with ")
    assert not (tmp_path / "code ran").exists()


def test_code_of_a_repository_runs_if_it_is_allowed(own, tmp_path):
    model = load(own, remote_code=True)
    assert (tmp_path / "code ran").exists()
    found = model.likelihoods(photo(), QUESTION, NAMES)
    np.testing.assert_allclose(found.sums, asked("llava").likelihoods(photo(), QUESTION, NAMES).sums, rtol=0, atol=1e-5)


def test_a_model_that_transformers_knows_never_runs_its_own_code(own, tmp_path):
    edit(own / "config.json", lambda content: content.update(model_type="llava"))
    load(own, remote_code=True)
    assert not (tmp_path / "code ran").exists()


# the hub


@pytest.fixture
def repository(folder_of, tmp_path, monkeypatch):
    """A hub with one repository, and the names of the files that were fetched from it."""
    hub, cached, fetched = folder_of("llava"), tmp_path / "cached", []
    cached.mkdir()

    def fetch(name, files, *, revision=None):
        for file in files:
            if name != "org/llava" or revision not in {None, "v2"} or not (hub / file).exists():
                continue
            if not (cached / file).exists():
                fetched.append(file)
                shutil.copy(hub / file, cached / file)
            return cached / file
        raise HubError(f"{name} has none of {', '.join(files)}")

    monkeypatch.setattr(folder_module, "cached_or_fetched", fetch)
    monkeypatch.setattr(folder_module, "files_of", lambda *_, **__: [one.name for one in hub.iterdir()])
    monkeypatch.chdir(tmp_path)
    return fetched


def test_a_repository_is_fetched_once_with_its_template(repository):
    first = load("org/llava", revision="v2")
    assert {"config.json", "chat_template.jinja", "processor_config.json", "model.safetensors"} <= set(repository)
    assert first.notes == ()
    repository.clear()
    assert load("org/llava").identity == first.identity
    assert not repository


def test_a_repository_that_is_not_there_is_refused(repository):
    fails(
        "org/other", r"org/other has none of config.json; give a folder \(lmm:FOLDER\), or fill the cache on a machine"
    )


def test_a_folder_has_no_revisions(folder_of):
    with pytest.raises(ModelError, match=r"a folder has no revisions; remove \?revision=v2"):
        load(folder_of("llava"), revision="v2")


@pytest.mark.parametrize(("folded", "count"), [(True, 3), (False, 2)])
def test_images_that_a_loaded_model_is_tried_with_are_passed_once(monkeypatch, folded, count):
    """Folding compares the model before and after, and the checks ask the model that it left about another image."""
    passed, prefix = [], Passes.prefix
    monkeypatch.setattr(Passes, "prefix", lambda self, inputs: passed.append(inputs) or prefix(self, inputs))
    load("showroom-lmm", folded=folded)
    assert len(passed) == count
