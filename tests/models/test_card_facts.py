"""Cards from claims: which source wins, what stays unknown, and the line that is printed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pytest_clip_robust.models.card.derived import adapted, interpolated
from pytest_clip_robust.models.card.facts import FACTS, SOURCES, Claim, ModelCard, card_of, overridden
from pytest_clip_robust.models.card.sentence import card_lines, fine_tuning, sentence, short

VALUES = {"data": st.sampled_from(["LAION-2B", "CC12M", None]), "samples_seen": st.sampled_from([1e9, 34e9, None])}
CLAIMS = st.lists(
    st.builds(Claim, source=st.sampled_from(SOURCES), facts=st.fixed_dictionaries({}, optional=VALUES)), max_size=6
)


def claim(source, **facts):
    return Claim(source=source, facts=facts)


def test_a_card_without_claims_knows_nothing():
    card = card_of([])
    assert card == ModelCard()
    assert card.facts == {}
    assert sentence(card) == (
        "unknown: architecture, parameters, resolution, training data, samples seen, loss, fine-tuning"
    )


@given(CLAIMS)
def test_a_known_fact_comes_from_the_nearest_source_that_states_it(claims):
    card = card_of(claims)
    for name in VALUES:
        stated = [(SOURCES.index(one.source), one.facts[name]) for one in claims if one.facts.get(name) is not None]
        if not stated:
            assert getattr(card, name) is None
            assert name not in card.sources
        else:
            nearest = min(rank for rank, _ in stated)
            assert SOURCES.index(card.sources[name]) == nearest
            assert getattr(card, name) == next(value for rank, value in stated if rank == nearest)


@given(CLAIMS, st.randoms())
def test_the_order_of_claims_from_different_sources_does_not_matter(claims, random):
    first_of_each = list({one.source: one for one in claims}.values())
    shuffled = random.sample(first_of_each, len(first_of_each))
    assert card_of(first_of_each) == card_of(shuffled)


def test_a_contradiction_is_decided_for_the_source_nearest_to_the_weights_and_remarked():
    card = card_of([claim("tag", data="LAION-2B"), claim("training run", data="CC12M")])
    assert card.data == "CC12M"
    assert card.remarks == ("data: CC12M (training run) contradicts LAION-2B (tag); took the first",)


@pytest.mark.parametrize("other", [34e9, 34.7e9, 32e9])
def test_numbers_that_a_name_rounds_do_not_contradict(other):
    assert card_of([claim("tag", samples_seen=34e9), claim("repository card", samples_seen=other)]).remarks == ()


def test_numbers_that_differ_by_more_than_rounding_contradict():
    card = card_of([claim("tag", samples_seen=34e9), claim("repository card", samples_seen=13e9)])
    assert card.samples_seen == 34e9
    assert "samples_seen" in card.remarks[0]


def test_published_sizes_are_no_contradiction():
    card = card_of([claim("training run", pairs=1000), claim("published", pairs=2.32e9)])
    assert (card.pairs, card.remarks) == (1000, ())


def test_an_override_replaces_a_fact_without_a_remark_and_keeps_the_others():
    card = overridden(card_of([claim("tag", data="LAION-2B", samples_seen=34e9)]), {"data": "mine", "loss": None})
    assert (card.data, card.samples_seen, card.remarks) == ("mine", 34e9, ())
    assert card.sources == {"data": "panel file", "samples_seen": "tag"}


def test_a_card_is_plain_data_with_every_fact():
    plain = card_of([claim("tag", data="LAION-2B")]).plain()
    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {*FACTS, "sources", "remarks"}
    assert plain["samples_seen"] is None


def test_the_core_imports_neither_torch_nor_open_clip():
    code = (
        "import sys, pytest_clip_robust.models.card.facts, pytest_clip_robust.models.card.sentence, "
        "pytest_clip_robust.models.card.tags, pytest_clip_robust.models.card.towers, "
        "pytest_clip_robust.models.card.overrides, pytest_clip_robust.models.card.derived; "
        "print({'torch', 'open_clip', 'timm', 'transformers'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_line_names_all_six_factors():
    card = ModelCard(
        family="ViT",
        size="B/32",
        parameters=151_277_313,
        resolution=224,
        data="LAION-2B",
        pairs=2.32e9,
        samples_seen=34e9,
        loss="softmax",
        fine_tuning="zero-shot",
    )
    assert sentence(card) == (
        "ViT-B/32, 151 M parameters, 224 px; LAION-2B (2.32 B pairs), 34 B seen; softmax; zero-shot"
    )


@pytest.mark.parametrize(
    ("card", "words"),
    [
        (ModelCard(fine_tuning="zero-shot"), "zero-shot"),
        (ModelCard(fine_tuning="supervised"), "supervised"),
        (
            ModelCard(fine_tuning="cross-entropy", fine_tuned_on="ImageNet-1k"),
            "fine-tuned: cross-entropy on ImageNet-1k",
        ),
        (ModelCard(fine_tuning="unknown method"), "fine-tuned by an unknown method"),
        (ModelCard(fine_tuning="adapter", fine_tuning_details="LoRA r=8"), "adapter (LoRA r=8)"),
        (ModelCard(fine_tuning="interpolation", fine_tuning_details="alpha=0.5"), "interpolation (alpha=0.5)"),
        (ModelCard(), ""),
    ],
)
def test_fine_tuning_in_words(card, words):
    assert fine_tuning(card) == words


@given(st.floats(min_value=1, max_value=9.99e11))
def test_a_short_number_is_the_number_within_three_digits(number):
    digits, _, letter = short(number).partition(" ")
    scale = {"": 1, "k": 1e3, "M": 1e6, "B": 1e9}[letter]
    assert float(digits) * scale == pytest.approx(number, rel=0.0051)


def test_an_adapter_keeps_the_facts_of_its_base():
    base = card_of([claim("tag", data="LAION-2B", fine_tuning="zero-shot")])
    card = adapted(base, adapter="LoRA r=8", trained_on="MS-COCO")
    assert card.data == "LAION-2B"
    assert fine_tuning(card) == "adapter (LoRA r=8) on MS-COCO"
    assert card.sources == {
        "data": "tag",
        "fine_tuning": "spec",
        "fine_tuning_details": "spec",
        "fine_tuned_on": "spec",
    }


def test_an_adapter_on_a_fine_tune_names_both():
    base = ModelCard(fine_tuning="cross-entropy", fine_tuned_on="ImageNet-1k", fine_tuning_details="3 epochs")
    card = adapted(base, adapter="LoRA r=8")
    assert card.fine_tuning_details == "LoRA r=8 after cross-entropy"
    assert card.fine_tuned_on is None


def test_an_interpolation_does_not_state_what_its_models_do_not_share():
    first = card_of([claim("tag", data="LAION-2B", samples_seen=34e9, loss="softmax")])
    second = card_of([claim("tag", data="DataComp-1B", loss="softmax", pairs=1.4e9)])
    card = interpolated(first, second, alpha=0.25)
    assert (card.data, card.loss, card.samples_seen, card.pairs) == (None, "softmax", 34e9, 1.4e9)
    assert "data" not in card.sources
    assert card.remarks == ("data: LAION-2B and DataComp-1B were interpolated; it is not stated",)
    assert fine_tuning(card) == "interpolation (alpha=0.25)"


def test_an_interpolation_of_a_model_with_its_fine_tune_is_named_by_both():
    base = ModelCard(data="LAION-2B", fine_tuning="zero-shot")
    tuned = ModelCard(data="LAION-2B", fine_tuning="cross-entropy", fine_tuned_on="ImageNet-1k")
    card = interpolated(base, tuned, alpha=0.5)
    assert (card.data, card.remarks) == ("LAION-2B", ())
    assert fine_tuning(card) == "interpolation (alpha=0.5) on ImageNet-1k"


TEXTS = st.text("abc @-_/", min_size=1, max_size=60).map(lambda text: f"x{text}x")


@example("x@x", "x@@@@@@@@@@@@@@@@x", 20)  # a word that is as wide as the line
@given(TEXTS, TEXTS, st.integers(20, 120))
def test_broken_lines_have_the_words_of_the_whole_line_and_fit(label, data, width):
    models = {label: {"card": ModelCard(family="ViT", size="B/32", data=data, fine_tuning="zero-shot").plain()}}
    whole, broken = card_lines(models), card_lines(models, width=width)
    assert len(whole) == 1
    assert " ".join(broken).split() == whole[0].split()
    assert all(len(line) <= width or len(line.split()) == 1 for line in broken)
    assert all(line.startswith("  ") for line in broken[1:])


def test_a_line_is_broken_after_a_factor():
    card = ModelCard(family="ViT", size="B/32", data="LAION-2B", pairs=2.32e9, samples_seen=34e9, loss="softmax")
    assert card_lines({"ViT-B-32@laion2b_s34b_b79k": {"card": card.plain()}}, width=75) == [
        "model ViT-B-32@laion2b_s34b_b79k: ViT-B/32;",
        "  LAION-2B (2.32 B pairs), 34 B seen; softmax;",
        "  unknown: parameters, resolution, fine-tuning",
    ]


def test_contradictions_are_printed_and_other_remarks_are_not():
    claims = [
        claim("tag", data="LAION-2B"),
        claim("training run", data="CC12M"),
        Claim(source="tag", remarks=("soup",)),
    ]
    lines = card_lines({"a": {"card": card_of(claims).plain()}, "without a card": {}})
    assert lines[1:] == ["a: data: CC12M (training run) contradicts LAION-2B (tag); took the first"]


def test_a_list_of_data_sets_that_has_the_data_set_is_no_contradiction():
    card = card_of([claim("tag", data="LAION-2B"), claim("repository card", data="ImageNet-1k, LAION-2B")])
    assert (card.data, card.remarks) == ("LAION-2B", ())
