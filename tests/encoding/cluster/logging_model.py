"""A small deterministic model that logs what it encodes; it is loaded by its path, on every node of a cluster."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import numpy as np
import torch

FOLDER = Path(__file__).parent


class LoggingEncoder:
    scale, bias = 10.0, 0.0

    def __init__(self, pause):
        torch.manual_seed(0)
        self.identity = (FOLDER / "identity.txt").read_text()
        self._layer = torch.nn.Linear(3 * 16 * 16, 64)
        self._pause = pause

    def preprocess(self, image):
        return np.asarray(image.resize((16, 16)), np.float32).transpose(2, 0, 1) / 255

    @torch.inference_mode()
    def encode_image(self, pixels):
        if len(pixels) > 2:  # not the two images of the check of every model
            time.sleep(self._pause)
            self._log(hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in pixels)
        return self._layer(pixels.flatten(1))

    def encode_text(self, texts):
        return np.array([[text.count(char) + 1.0 for char in "abcdefghijklmnop" * 4] for text in texts])

    def _log(self, digests):
        with (FOLDER / f"{os.getpid()}.log").open("a") as log:
            log.writelines(f"{digest}\n" for digest in digests)


def load(pause: float = 0.0):
    return LoggingEncoder(pause)
