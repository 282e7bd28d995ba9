from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from pytest_clip_robust.models import compilation
from pytest_clip_robust.models.compilation import TOLERANCE, CannotCompileError, compile_tower
from pytest_clip_robust.models.loading import load_model
from pytest_clip_robust.models.spec import ModelSpec


@pytest.fixture
def tower():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.GELU(), torch.nn.Linear(8, 4)).eval()


def compiled(tower):
    return compile_tower(tower, torch.rand(2, 6), precision="fp32", arithmetic=nullcontext)


def use(monkeypatch, backend):
    torch._dynamo.reset()
    monkeypatch.setattr(compilation, "BACKEND", backend)


def test_a_compiled_tower_gives_the_same_features_for_every_batch_size(tower, monkeypatch):
    """Run without the real compiler, which takes a minute."""
    graphs = []
    use(monkeypatch, lambda graph, inputs: graphs.append(graph) or graph.forward)
    quick = compiled(tower)
    with torch.inference_mode():
        for size in (1, 2, 3, 7, 16, 5):
            inputs = torch.rand(size, 6)
            distance = 1 - torch.cosine_similarity(quick(inputs), tower(inputs))
            assert distance.max() < TOLERANCE["fp32"]
    assert 1 <= len(graphs) <= 3  # not one per size


def test_a_failed_compilation_has_its_reason_in_one_line(tower, monkeypatch):
    def no_compiler(graph, inputs):
        raise RuntimeError("no C++ compiler\n  found on this machine.")

    use(monkeypatch, no_compiler)
    with pytest.raises(CannotCompileError, match=r"no C\+\+ compiler found on this machine") as error:
        compiled(tower)
    assert "\n" not in str(error.value)


def test_a_compiler_that_changes_features_is_refused(tower, monkeypatch):
    use(monkeypatch, lambda graph, inputs: lambda *args: (-graph.forward(*args)[0],))
    with pytest.raises(CannotCompileError, match="its features would change by a cosine distance of 2"):
        compiled(tower)


def test_a_model_that_does_not_compile_runs_uncompiled_with_a_note(config, checkpoint, monkeypatch):
    def no_compiler(graph, inputs):
        raise RuntimeError("no compiler")

    spec = ModelSpec.parse(f"{config}@{checkpoint}")
    plain = load_model(spec, device="cpu", precision="fp32")
    use(monkeypatch, no_compiler)
    loaded = load_model(spec, device="cpu", precision="fp32", compiled=True)
    assert [note.partition(":")[0] for note in loaded.notes[-2:]] == [
        "its image tower is not compiled",
        "its text tower is not compiled",
    ]
    pixels = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(loaded.encoder.encode_image(pixels), plain.encoder.encode_image(pixels))


def test_a_model_is_compiled_on_request(config, checkpoint, monkeypatch):
    graphs = []
    use(monkeypatch, lambda graph, inputs: graphs.append(graph) or graph.forward)
    spec = ModelSpec.parse(f"{config}@{checkpoint}")
    loaded = load_model(spec, device="cpu", precision="fp32", compiled=True)
    assert not [note for note in loaded.notes if "compiled" in note]
    assert len(graphs) >= 2
