from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.encoding.engines.base import AnswerJob, ImageJob, LikelihoodJob, TextJob, part_of, samples_of
from pytest_clip_robust.encoding.engines.blocks import cut, in_order
from pytest_clip_robust.encoding.engines.local import LocalEngine


def parts_of(job, **options):
    digests = in_order(job)
    return [part_of(job, digests[part]) for part in cut(job, on_cpu=True, **options)]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("batch_size", [None, 5])
@pytest.mark.parametrize("count", [1, 16, 17, 300])
def test_the_batches_of_all_blocks_are_those_of_the_whole_job(model, image_set, png, count, batch_size, workers):
    images = image_set([png(seed, size=(4, 4)) for seed in range(count)])
    texts = {f"{seed}": f"a photo of {'x' * (seed % 7)} {seed}" for seed in range(count)}
    jobs = [
        ImageJob(model=model, images=images, positions={digest: i for i, digest in enumerate(images.digests)}),
        TextJob(model=model, texts=texts),
    ]
    for job in jobs:
        engine = LocalEngine(batch_size=batch_size, workers=0)
        whole = list(engine.encode(job))
        pieces = [
            batch for part in parts_of(job, workers=workers, batch_size=batch_size) for batch in engine.encode(part)
        ]
        assert [list(batch.digests) for batch in pieces] == [list(batch.digests) for batch in whole]
        for piece, batch in zip(pieces, whole, strict=True):
            np.testing.assert_array_equal(piece.features, batch.features)


@given(
    count=st.integers(1, 5000),
    workers=st.integers(1, 64),
    batch_size=st.none() | st.integers(1, 300),
    on_cpu=st.booleans(),
    kind=st.sampled_from(["images", "texts", "likelihoods", "answers"]),
)
def test_every_sample_is_in_one_block(count, workers, batch_size, on_cpu, kind):
    digests = {str(number): number for number in range(count)}
    jobs = {
        "images": ImageJob(model=None, images=None, positions=digests),
        "texts": TextJob(model=None, texts={one: one for one in digests}),
        "likelihoods": LikelihoodJob(model=None, images=None, positions=digests, question="", candidates=("a", "b")),
        "answers": AnswerJob(model=None, images=None, asked={one: (at, one) for one, at in digests.items()}, limit=3),
    }
    job = jobs[kind]
    order = in_order(job)
    parts = cut(job, workers=workers, batch_size=batch_size, on_cpu=on_cpu)
    assert [one for part in parts for one in order[part]] == order
    assert set(order) == set(samples_of(job)) == set(digests)
