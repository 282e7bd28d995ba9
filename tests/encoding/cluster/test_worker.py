"""Workers without a cluster, in this process."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pytest_clip_robust.encoding.cluster.sending import without_weights
from pytest_clip_robust.encoding.cluster.worker import Worker, WorkerSettings
from pytest_clip_robust.encoding.engines.base import AnswerJob, LikelihoodJob
from pytest_clip_robust.encoding.engines.blocks import cut, in_order
from pytest_clip_robust.encoding.engines.local import LocalEngine
from pytest_clip_robust.models.spec import ModelSpec


@pytest.fixture
def worker(monkeypatch):
    """A worker that gets what it is sent; the changes of its process are undone."""
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(get=lambda sent: sent))
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(os, "environ", os.environ.copy())
    return Worker(WorkerSettings(device="cpu", threads=torch.get_num_threads()))


class Answering:
    """Answers that follow from the mean of the image and the words of the question."""

    identity, tower = "answering", ""

    def sums(self, images, question, candidates):
        self.notice(f"asked {question}")
        means = np.array([np.asarray(image).mean() for image in images])
        return -means[:, None] * np.arange(1, len(candidates) + 1) - len(question)

    def sizes(self, question, candidates):
        raise NotImplementedError

    def generate(self, images, questions, *, limit):
        return [(int(np.asarray(image).mean()), len(one))[:limit] for image, one in zip(images, questions, strict=True)]

    def text(self, tokens):
        raise NotImplementedError

    def notice(self, line):
        pass


@pytest.fixture
def lmm(load, monkeypatch):
    """A model that is loaded anew wherever it is named."""
    model = load(Answering(), spec=ModelSpec.parse("lmm:answering"))
    loads = []

    def load_again(spec, **options):
        loads.append((str(spec), options))
        return replace(model, encoder=Answering())

    monkeypatch.setattr("pytest_clip_robust.models.loading.load_unchecked", load_again)
    yield model
    assert loads == [("lmm:answering", {"device": "cpu", "precision": "fp32", "compiled": False})], "loaded once"


def answered(batches):
    return {digest: row for batch in batches for digest, row in zip(batch.digests, batch.features, strict=True)}


def test_the_answers_of_a_large_multimodal_model_go_the_same_way(worker, lmm, image_set, png):
    images = image_set([png(seed, size=(64, 64)) for seed in range(10)])
    jobs = [
        LikelihoodJob(
            model=lmm,
            images=images,
            positions={digest: place for place, digest in enumerate(images.digests)},
            question="What is in this picture?",
            candidates=("a chair", "a lamp"),
        ),
        AnswerJob(
            model=lmm,
            images=images,
            asked={str(place): (place, f"Is this a {'big ' * (place % 3)}chair?") for place in range(10)},
            limit=4,
        ),
    ]
    for number, job in enumerate(jobs):
        sent = [without_weights(job)]
        parts = cut(job, workers=1, batch_size=None, on_cpu=True)
        assert len(parts) == 2
        blocks = [worker.encode(str(number), sent, part) for part in parts]
        assert [block.error for block in blocks] == [None, None]
        assert [block.notices for block in blocks] == ([["asked What is in this picture?"]] * 2, [[], []])[number]
        assert sum(len(batch.digests) for block in blocks for batch in block.batches) == len(in_order(job))
        expected = answered(LocalEngine().encode(job))
        found = answered(batch for block in blocks for batch in block.batches)
        assert set(found) == set(expected)
        for digest, row in expected.items():
            np.testing.assert_array_equal(found[digest], row)


def test_a_model_that_cannot_be_loaded_is_returned_as_its_error(worker, model, image_set, png):
    images = image_set([png(0)])
    job = LikelihoodJob(
        model=model, images=images, positions={images.digests[0]: 0}, question="", candidates=("a", "b")
    )
    job = replace(job, model=replace(model, spec=ModelSpec.parse("py:/nowhere/model.py:load"), encoder=None))
    block = worker.encode("one", [job], slice(0, 1))
    assert block.batches == []
    assert "/nowhere/model.py" in str(block.error)
