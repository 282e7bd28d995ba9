"""Small models that know the embedded batch, and no other pictures: random towers with fitted projections."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import open_clip
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2

from pytest_clip_robust.models.check.batch import embedded_batch

SCALE = 5.0
"""Small enough that answers are not all certain, as with projections that fit exactly they would be."""

SMALL = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 3, "width": 64, "patch_size": 16, "head_width": 32},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3},
}


@cache
def fitted(*, quick: bool) -> open_clip.CLIP:
    """Return a CLIP whose projections give every picture of the batch, and its text, a direction of their own.

    Towers are random, with parameters as large as those of trained ones, and with one activation; the features of
    16 inputs determine projections from 64 dimensions exactly. With another activation they are others.
    """
    images, texts = embedded_batch()
    torch.manual_seed(0)
    model = open_clip.CLIP(**json.loads(json.dumps(SMALL)), quick_gelu=quick).eval()
    for parameter in model.parameters():
        parameter.data += 0.8 * torch.randn_like(parameter)
        if parameter.ndim > 1:  # a direction that counts more than others, as training leaves it
            rows, columns = parameter.flatten(1).shape
            direction = torch.outer(torch.randn(rows), torch.randn(columns)) * 1.3 * parameter.data.std()
            direction *= (rows**0.5 + columns**0.5) / (rows * columns) ** 0.5
            parameter.data += direction.view_as(parameter)
    transform = image_transform_v2(PreprocessCfg(size=32), is_train=False)
    tokens = open_clip.get_tokenizer("ViT-B-32", context_length=16)(list(texts))
    targets = torch.linalg.qr(torch.randn(32, 32)).Q[: len(images)]
    with torch.no_grad():
        for projection, encode in (
            (model.visual.proj, lambda: model.encode_image(torch.stack([transform(one) for one in images]))),
            (model.text_projection, lambda: model.encode_text(tokens)),
        ):
            projection.data = torch.eye(64)
            before = encode().double()
            projection.data = torch.linalg.lstsq(before, targets.double()).solution.float()
        model.logit_scale.fill_(np.log(SCALE))
    return model
