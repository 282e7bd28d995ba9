from __future__ import annotations

import pytest

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.prompts.corpus import Corpus, corpus


def test_the_built_in_corpora_are_nouns_of_wordnet():
    sparse, full = corpus("imagenet-22k/10"), corpus("imagenet-22k")
    assert 2000 < len(sparse.labels) < 2200
    assert 19000 < len(full.labels) < 22000
    assert set(sparse.labels) < set(full.labels)
    assert {"ice hockey", "croquet"} <= set(sparse.labels)
    assert all(label.strip() and "," not in label for label in full.labels)
    assert len(set(full.labels)) == len(full.labels)
    assert sparse.digest != full.digest


def test_a_file_has_one_label_per_line(tmp_path):
    (tmp_path / "words.txt").write_text("cloud\n\n chair \ncloud\n")
    found = corpus(str(tmp_path / "words.txt"))
    assert found == Corpus("words", ("cloud", "chair"))


def test_names_of_id_classes_are_left_out_ignoring_case():
    assert Corpus("mine", ("Sea", "chair", "cloud")).without(["sea", "CLOUD"]) == ("chair",)


def test_a_wrong_corpus_is_one_line(tmp_path):
    with pytest.raises(ConfigError, match=r"no corpus 'imagenet22k' \(did you mean 'imagenet-22k'"):
        corpus("imagenet22k")
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(ConfigError, match="corpus 'empty' has no labels; give a file with one label per line"):
        corpus(str(tmp_path / "empty.txt"))
    (tmp_path / "latin.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        corpus(str(tmp_path / "latin.txt"))
