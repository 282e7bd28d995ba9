"""Dual encoder of EfficientNet-Lite0 and MiniLM-L6, joined by a linear map, for tests on real photographs.

From the repository root: ``pytest --model py:tests/real/effl0_minilm.py:load``. Its files are not part of the project;
they are read from ``data`` in the folder CLIP_ROBUST_SHARED (default: ``shared`` next to the checkout).

The linear map from text features to the weight space of the image classifier is fitted by least squares, so there is no
trained temperature: `scale` is 100 by convention, as for the released CLIP models. Rankings do not depend on it;
calibration does, and is not meaningful for this model.
"""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from tokenizers import BertWordPieceTokenizer

SCALE = 100.0
MAX_TOKENS = 128
THREADS = 2
FILES = ("efficientnet_lite0.onnx", "minilm_l6_int8.onnx", "bert_uncased_vocab.txt", "bridge.npz")

Floats = NDArray[np.float32]


def shared_data() -> Path:
    """Return the folder of the test data."""
    default = Path(__file__).resolve().parent / "../../../shared"
    return Path(os.environ.get("CLIP_ROBUST_SHARED", default)).resolve() / "data"


def load() -> EffLiteMiniLM:
    """Return the dual encoder.

    Raises:
        FileNotFoundError: one of its files is not in the shared folder.
    """
    folder = shared_data() / "dual_encoder_effl0_minilm"
    absent = [name for name in FILES if not (folder / name).is_file()]
    if absent:
        raise FileNotFoundError(f"{folder} lacks {absent[0]!r}; set CLIP_ROBUST_SHARED to the folder above data/")
    return EffLiteMiniLM(folder)


class EffLiteMiniLM:
    """Both towers as a ``DualEncoder``; runs on the CPU in fp32 (the text tower's weights are int8)."""

    scale = SCALE
    bias = 0.0

    def __init__(self, folder: Path) -> None:
        self.identity = _identity(folder)
        self._vision = _session(folder / "efficientnet_lite0.onnx")
        self._language = _session(folder / "minilm_l6_int8.onnx", threads=1)
        self._pool = ThreadPoolExecutor(THREADS)
        tokens = (folder / "bert_uncased_vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
        vocabulary = {token: number for number, token in enumerate(tokens)}  # older releases warn if they read the file
        self._tokenizer = BertWordPieceTokenizer(vocabulary, lowercase=True)
        self._uncut = BertWordPieceTokenizer(vocabulary, lowercase=True)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        with np.load(folder / "bridge.npz") as bridge:
            self._to_image_space, self._mean_features = bridge["A"], bridge["mu"]

    def preprocess(self, image: Image.Image) -> Floats:
        """Return (3, 224, 224) pixels: shorter side resized to 256 (bicubic), centre crop, ``(x - 127) / 128``."""
        return preprocess(image)

    def encode_image(self, pixels: Any) -> Floats:
        """Return the (B, 1280) unit features of (B, 3, 224, 224) pixels, centred on the mean training feature."""
        batch = np.ascontiguousarray(np.asarray(pixels), dtype=np.float32)
        features = self._vision.run(["features"], {"pixel_values": batch})[0]
        return _unit(features - self._mean_features)

    def encode_text(self, texts: list[str]) -> Floats:
        """Return the (B, 1280) unit features of B texts: the mean token state, normalised and mapped linearly.

        Texts are encoded one at a time: the int8 tower scales its activations by the largest value of a batch, so the
        features of a text would depend on the other texts.
        """
        sentences = np.stack(list(self._pool.map(self._sentence, texts)))
        with_constant = np.concatenate([sentences, np.ones((len(sentences), 1), np.float32)], axis=1)
        return _unit(with_constant @ self._to_image_space)

    def too_long(self, texts: list[str]) -> list[bool]:
        """Return for each text whether it has more than 128 tokens."""
        return [len(self._uncut.encode(text).ids) > MAX_TOKENS for text in texts]

    def _sentence(self, text: str) -> Floats:
        ids = np.array([self._tokenizer.encode(text).ids], dtype=np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        states: Floats = self._language.run(["last_hidden_state"], inputs)[0]
        return _unit(states.mean(axis=1))[0]


def load_classifier() -> EffLiteClassifier:
    """Return the image tower as the ImageNet classifier that it was trained as.

    Raises:
        FileNotFoundError: its file is not in the shared folder.
    """
    file = shared_data() / "dual_encoder_effl0_minilm" / FILES[0]
    if not file.is_file():
        raise FileNotFoundError(f"no {file}; set CLIP_ROBUST_SHARED to the folder above data/")
    return EffLiteClassifier(file)


class EffLiteClassifier:
    """A classifier whose head is inside of the ONNX file, so that its logits are its features."""

    classes = "imagenet-1k"

    def __init__(self, file: Path) -> None:
        self.identity = hashlib.sha256(file.read_bytes() + Path(__file__).read_bytes()).hexdigest()
        self._session = _session(file)

    def preprocess(self, image: Image.Image) -> Floats:
        """Return (3, 224, 224) pixels, as for the dual encoder."""
        return preprocess(image)

    def encode_image(self, pixels: Any) -> Floats:
        """Return the (B, 1000) logits of (B, 3, 224, 224) pixels."""
        batch = np.ascontiguousarray(np.asarray(pixels), dtype=np.float32)
        logits: Floats = self._session.run(["logits"], {"pixel_values": batch})[0]
        return logits

    def classify(self, features: Floats) -> Floats:
        """Return the features, which are the logits."""
        return features


def preprocess(image: Image.Image) -> Floats:
    """Return (3, 224, 224) float32 pixels of an RGB image; at module level, so that worker processes can pickle it."""
    width, height = image.size
    factor = 256 / min(width, height)
    resized = image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)
    left, top = (resized.width - 224) // 2, (resized.height - 224) // 2
    pixels = np.asarray(resized.crop((left, top, left + 224, top + 224)), dtype=np.float32)
    return ((pixels - 127.0) / 128.0).transpose(2, 0, 1)


def _session(path: Path, *, threads: int = THREADS) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _identity(folder: Path) -> str:
    """Return a digest of all model files and of this module, which contains the preprocessing."""
    digest = hashlib.sha256()
    for path in (*(folder / name for name in FILES), Path(__file__)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _unit(rows: Floats) -> Floats:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
