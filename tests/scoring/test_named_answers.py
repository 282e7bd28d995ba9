"""Tests of reading free-text answers: by hand, by invariants, and against published readings of real answers."""

from __future__ import annotations

import json
import re
import time
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.scoring.named_answers import NamedAnswers, Reading
from pytest_clip_robust.scoring.option_marks import marks_of
from pytest_clip_robust.scoring.words import fold, forms, words_of

DOG, HOT_DOG, CAT, BEAR, TEDDY = range(5)
PETS = NamedAnswers(["dog", "hot dog", ("cat", "kitty"), "bear", "teddy bear"])
MARKS = "ABCDE"

NAMED = {
    "dog": DOG,
    "A dog.": DOG,
    "The image shows two DOGS!": DOG,
    "It is a dog's bowl": DOG,
    "“Dog”": DOG,
    "**dog**": DOG,
    "dog dog dog": DOG,
    "This is a hot dog on a plate.": HOT_DOG,
    "a hotdog": HOT_DOG,
    "Hot-dogs": HOT_DOG,
    "a hot\ndog": HOT_DOG,
    "The kitty": CAT,
    "two kitties": CAT,
    "a teddybear": TEDDY,
    "teddy bears": TEDDY,
    "It's not a dog, it is a cat": CAT,
    "This isn't a dog but a cat": CAT,
    "It's a cat, not a dog.": CAT,
    "a cat rather than a dog": CAT,
    "a cat instead of the dog": CAT,
    "Unlike the dog, a cat": CAT,
    "No doubt, a dog": DOG,
    "Without a doubt a dog": DOG,
    "not only a dog": DOG,
    "The dog is not visible, but a cat is.": CAT,
    "The dog and the bear are not visible. A cat.": CAT,
    "It is not a hot dog but a dog": DOG,
    "I'm sorry if this is wrong: a bear": BEAR,
}

UNANSWERED = {
    "not a dog": "negated",
    "no dog": "negated",
    "Neither a dog nor a cat.": "negated",
    "I don't think this is a dog": "negated",
    "There are no cats or dogs": "negated",
    "a dog or a cat": "several",
    "dog, cat": "several",
    "a hot dog and a dog": "several",
    "a bear, not only a dog": "several",
    "a house": "none",
    "doghouse": "none",
    "catalogue": "none",
    "Ashtray": "none",
    "None of these": "none",
    "I cannot help with that.": "refused",
    "I'm sorry, but I can't tell.": "refused",
    "As an AI, I am not able to see.": "refused",
    "": "empty",
    " \n\t": "empty",
    "...!?": "empty",
}


@pytest.mark.parametrize("answer", NAMED)
def test_an_answer_that_affirms_one_candidate_names_it(answer):
    assert PETS.read(answer) == Reading(NAMED[answer], "named")


@pytest.mark.parametrize("answer", UNANSWERED)
def test_an_answer_that_affirms_no_candidate_or_several_is_no_answer(answer):
    assert PETS.read(answer) == Reading(None, UNANSWERED[answer])
    assert PETS.read(answer, marks=MARKS) == Reading(None, UNANSWERED[answer])


LETTERS = {
    "B": HOT_DOG,
    "b": HOT_DOG,
    "(B)": HOT_DOG,
    "B.": HOT_DOG,
    "B)": HOT_DOG,
    "[B]": HOT_DOG,
    "**B**": HOT_DOG,
    '"B"': HOT_DOG,
    "B: hot dog": HOT_DOG,
    "B - a hot dog": HOT_DOG,
    "B\nThe picture shows bread.": HOT_DOG,
    "A": DOG,
    "A.": DOG,
    "a": DOG,
    "Answer: C": CAT,
    "answer: c": CAT,
    "Answer:\n\nC.": CAT,
    "The answer is (C) because of its ears": CAT,
    "The correct answer is C, unlike the dog": CAT,
    "The answer is A because of its ears": DOG,
    "option A": DOG,
    "Option (E) teddy bear": TEDDY,
    "The correct option is E": TEDDY,
    "I would choose D": BEAR,
    "\\boxed{D}": BEAR,
    "<answer>D</answer>": BEAR,
    "It is B.": HOT_DOG,
    "The image presents (C) a cat.": CAT,
    "Not A, so (B)": HOT_DOG,
    "Option A is a dog and option B is bread, so the answer is B.": HOT_DOG,
    "Neither (A) nor (B). (C)": CAT,
    "(A) and (B) are incorrect, so (D)": BEAR,
    "(A) is not correct; (B) is": HOT_DOG,
}


@pytest.mark.parametrize("answer", LETTERS)
def test_the_mark_of_an_option_chooses_it(answer):
    assert PETS.read(answer, marks=MARKS) == Reading(LETTERS[answer], "letter")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("A cat", Reading(CAT, "named")),
        ("The answer is a cat", Reading(CAT, "named")),
        ("THE ANSWER IS A CAT", Reading(CAT, "named")),
        ("A cat and a bowl", Reading(CAT, "named")),
        ("I think that is a bear, Dan", Reading(BEAR, "named")),
        ("An A-frame house with a cat", Reading(CAT, "named")),
        ("Ashtray", Reading(None, "none")),
        ("Banana", Reading(None, "none")),
        ("B-52 bomber", Reading(None, "none")),
        ("answer: A-frame house", Reading(None, "none")),
        ("'answer a'", Reading(DOG, "letter")),
        ("The image is a", Reading(None, "none")),
        ("A or B", Reading(None, "several")),
        ("Both A and B", Reading(None, "several")),
        ("A) cat", Reading(None, "several")),
        ("Neither A nor B", Reading(None, "negated")),
        ("Both (A) and (B) are incorrect.", Reading(None, "negated")),
    ],
)
def test_articles_words_and_contradictions_are_no_marks(answer, expected):
    assert PETS.read(answer, marks=MARKS) == expected


def test_no_letter_is_read_better_than_another():
    for answer in LETTERS:
        for mark in "CDE":
            swapped = re.sub(r"\bB\b", mark, answer)
            if "B" in answer and "hot dog" not in answer and not re.search(r"\b[A-E]\b", swapped.replace(mark, "")):
                assert PETS.read(swapped, marks=MARKS) == Reading(MARKS.index(mark), "letter"), swapped


@pytest.mark.parametrize(
    ("answer", "position"),
    [("(2)", 1), ("2", 1), ("Output (1).", 0), ("2. a dog", 1), ("Answer: 1", 0), ("option 2", 1)],
)
def test_marks_can_be_numbers(answer, position):
    assert NamedAnswers(["a cat on a dog", "a dog"]).read(answer, marks="12") == Reading(position, "letter")


@pytest.mark.parametrize("answer", ["2 birds", "1.5 metres", "There are 2 of them", "12", "the answer is 2 birds"])
def test_numbers_that_count_are_no_marks(answer):
    assert NamedAnswers(["cat", "dog"]).read(answer, marks="12") == Reading(None, "none")


def test_a_letter_inside_of_a_name_is_no_mark():
    reader = NamedAnswers(["vitamin c", "plan b"])
    assert reader.read("I would choose: vitamin C", marks="BC") == Reading(0, "named")
    assert reader.read("It is plan B.", marks="BC") == Reading(1, "named")
    assert reader.read("A vitamin (C) pill", marks="BC") == Reading(0, "named")


def test_an_answer_that_is_a_name_as_a_whole_needs_no_interpretation():
    letters = NamedAnswers(["b", "a"])
    assert letters.read("B", marks="AB") == Reading(0, "named")
    assert letters.read("(B)", marks="AB") == Reading(0, "named")
    articles = NamedAnswers(["a dog", "the dog"])
    assert articles.read("The dog.") == Reading(1, "named")
    assert articles.read("It is the dog.") == Reading(None, "several")
    assert NamedAnswers(["The The", "dog"]).read("the the") == Reading(0, "named")


@pytest.mark.parametrize("marks", ["AB", "ABCDEF", "AABCD", "aAbcd"])
def test_marks_that_do_not_fit_the_candidates_are_an_error(marks):
    with pytest.raises(MeasurementError, match="for 5 candidates; expected a different one for each"):
        PETS.read("A", marks=marks)


def test_a_candidate_can_contain_a_negation():
    reader = NamedAnswers(["woman without a towel", "woman with a towel", "no entry sign"])
    assert reader.read("A woman without a towel and a bag") == Reading(0, "named")
    both = "a woman without a towel and a woman with a towel"
    assert reader.read(both) == Reading(None, "several")
    assert reader.read("No entry sign") == Reading(2, "named")
    assert reader.read("It is the no entry sign.") == Reading(2, "named")


def test_the_longer_of_two_names_counts_where_one_is_a_prefix_of_the_other():
    reader = NamedAnswers(["A dark phone", "A dark phone and a tablet", "fire", "fireboat", "boat"])
    assert reader.read("I see a dark phone and a tablet.") == Reading(1, "named")
    assert reader.read("I see a dark phone and a cup.") == Reading(0, "named")
    assert reader.read("a fire boat") == Reading(3, "named")
    assert reader.read("a boat on fire") == Reading(None, "several")


def test_names_that_differ_only_in_number_are_told_apart_by_spelling():
    reader = NamedAnswers(["sunglass", "sunglasses", "crane"])
    assert reader.read("a sunglass here") == Reading(0, "named")
    assert reader.read("the sunglasses here") == Reading(1, "named")
    assert reader.read("the cranes here") == Reading(2, "named")


def test_a_shared_synonym_names_all_of_its_candidates():
    reader = NamedAnswers([("crane bird", "crane"), ("construction crane", "crane"), ("stork", "heron"), "heron"])
    assert reader.read("a crane") == Reading(None, "several")
    assert reader.read("a construction crane") == Reading(1, "named")
    assert reader.read("the heron of the lake") == Reading(3, "named")


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("Käse", "KÄSE"),
        ("kase", "Käse"),
        ("Straße", "STRASSE"),
        ("собака", "Это СОБАКА."),
        ("狗", "这是一只狗。"),
        ("हिन्दी", "यह हिन्दी है"),
        ("Σίσυφος", "ΣΊΣΥΦΟΣ"),
        ("ﬁsh", "fish"),
        ("cell phone", "c\u00adell pho\u200bne"),
        ("St. Bernard", "a st bernard"),
        ("jack-o'-lantern", "Jack O\u2019Lanterns"),
        ("men", "a man"),
        ("lens", "two lenses"),
        ("knife", "knives"),
        ("child", "children"),
        ("fox", "foxes"),
        ("strawberry", "strawberries"),
    ],
)
def test_spellings_of_one_name_are_equal(name, answer):
    assert NamedAnswers([name, "other"]).read(answer) == Reading(0, "named")


@pytest.mark.parametrize(
    ("name", "answer"),
    [("car", "care"), ("kit", "kite"), ("plane", "plan"), ("bus", "bu"), ("news", "new"), ("gas", "ga"), ("狗", "猫")],
)
def test_other_words_are_not_taken_for_forms_of_a_name(name, answer):
    assert NamedAnswers([name, "other"]).read(f"the {answer}") == Reading(None, "none")


@pytest.mark.parametrize("candidates", [["dog", "Dog!"], ["T-shirt", "t shirt"], [("a", "b"), ("A", "c")]])
def test_two_candidates_of_one_name_are_an_error(candidates):
    with pytest.raises(MeasurementError, match="candidates 0 and 1 are both named"):
        NamedAnswers(candidates)


@pytest.mark.parametrize("candidates", [["dog", ""], ["dog", "!!"], ["dog", ()], ["dog", ("cat", " ")]])
def test_a_name_without_letters_is_an_error(candidates):
    with pytest.raises(MeasurementError, match=r"candidate 1 has the name '.*'; expected letters or digits"):
        NamedAnswers(candidates)


def test_no_candidates_are_an_error():
    with pytest.raises(MeasurementError, match="no candidates"):
        NamedAnswers([])


@pytest.mark.parametrize("filler", ["and a dog ", "not (A) and ", "A. ", "((((", "'''' ", "answer ", "a\n", "dog or "])
def test_very_long_answers_are_read_in_time_that_grows_with_their_length(filler):
    start = time.perf_counter()
    PETS.read(filler * (200_000 // len(filler)), marks=MARKS)
    assert time.perf_counter() - start < 30


def test_words_keep_their_places_in_the_text():
    text = fold("It ISN'T a dog.\nCan't  it?")
    words = words_of(text)
    assert [word.text for word in words] == ["it", "is", "not", "a", "dog", "can", "not", "it"]
    assert [text[word.place] for word in words] == ["i", "i", "i", "a", "d", "c", "c", "i"]
    assert [word.pause for word in words] == [True, False, False, False, False, True, False, False]


@pytest.mark.parametrize("word", ["parent", "plant", "dot", "different", "significant", "cant"])
def test_words_that_look_like_negations_are_not_split(word):
    assert [one.text for one in words_of(word)] == [word]


def test_forms_relate_in_both_directions():
    for word in ("dog", "wolf", "knife", "woman", "mouse", "potato", "bus", "city", "toy", "person"):
        for form in forms(word) - {word}:
            assert word in forms(form), (word, form)


def test_a_declared_mark_counts_as_such_wherever_else_it_is_found():
    (mark,) = marks_of("answer: (b)", "AB")
    assert (mark.option, mark.declared, mark.place) == (1, True, 9)


WORDS = ["dog", "hot", "cat", "teddy", "bear", "red", "sea", "lion", "Käse", "狗", "собака", "box", "people", "lens"]
NAMES = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join), min_size=2, max_size=6, unique=True
)
GLUE = ["a", "the", "not", "no", "and", "or", "but", ",", ".", "is", "(A)", "answer", "sorry", "it", "B", "\n", "isn't"]
ANSWERS = st.lists(st.sampled_from([*WORDS, *GLUE]), max_size=12).map(" ".join)


@given(NAMES, ANSWERS, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(names, answer, random):
    order = list(range(len(names)))
    random.shuffle(order)
    marks = "ABCDEF"[: len(names)]
    before = NamedAnswers(names).read(answer, marks=marks)
    after = NamedAnswers([names[i] for i in order]).read(answer, marks=[marks[i] for i in order])
    assert after.reason == before.reason
    assert before.position == (None if after.position is None else order[after.position])


@given(NAMES, ANSWERS, st.sampled_from([str.upper, str.lower, str.title]))
def test_case_does_not_matter(names, answer, change):
    marks = "ABCDEF"[: len(names)]
    assert NamedAnswers(names).read(change(answer), marks=marks) == NamedAnswers(names).read(answer, marks=marks)


@given(NAMES, ANSWERS, st.sampled_from(["  {}\t", "\n{}\n", '"{}"', "“{}”", "'{}'", "`{}`", "**{}**", "\ufeff{}"]))
def test_surrounding_space_and_quotes_do_not_matter(names, answer, around):
    marks = "ABCDEF"[: len(names)]
    reader = NamedAnswers(names)
    assert reader.read(around.format(answer.strip()), marks=marks) == reader.read(answer.strip(), marks=marks)


@given(NAMES, st.data())
def test_an_exact_name_always_chooses_its_candidate(names, data):
    position = data.draw(st.integers(0, len(names) - 1))
    for answer in (names[position], names[position].upper(), f" {names[position]}. "):
        assert NamedAnswers(names).read(answer, marks="ABCDEF"[: len(names)]) == Reading(position, "named")


@given(st.text(max_size=60), st.text(max_size=20))
def test_any_text_is_read_without_an_error(answer, name):
    reading = NamedAnswers(["dog", f"cat {name}"]).read(answer, marks="AB")
    assert (reading.position is not None) == (reading.reason in {"named", "letter"})


def gpt4v(shared):
    """Yield the order, the item and the published entry of all answers of GPT-4V to SugarCrepe."""
    for path in sorted((shared / "golden/lmm/sugarcrepe_gpt4v").glob("*.json")):
        for item, entry in json.loads(path.read_text("utf-8")).items():
            if isinstance(entry, dict):  # one file has a row that is no answer
                yield path.name.split("-")[0], (path.name, item), entry


def test_real_answers_are_read_as_their_authors_read_them(shared):
    """GPT-4V's answers to SugarCrepe: the authors' parser leaves out bare numbers, and answers with second thoughts."""
    reasons, theirs_only, ours_only = Counter(), [], []
    for order, item, entry in gpt4v(shared):
        captions = [entry["caption"], entry["negative_caption"]]
        published = entry["answer"]["multiple_choice_answer"]
        expected = captions.index(published) if published in captions else None
        marks = ("1", "2") if order == "positive" else ("2", "1")
        found = NamedAnswers(captions).read(entry["answer"]["free_form_answer"], marks=marks)
        reasons[found.reason] += 1
        if found.position != expected:
            (theirs_only if found.position is None else ours_only).append((item, expected))
    assert sum(reasons.values()) == 15024
    assert reasons == {"letter": 14750, "none": 132, "negated": 84, "refused": 52, "several": 6}
    assert not theirs_only
    assert len(ours_only) == 5
    assert {expected for _, expected in ours_only} == {None}


COLORSWAP = {"llava": (209, 467), "llavar": (83, 532), "gpt4v": (274, 586)}
"""Items of 300 with both answers right, and answers of 600 that give a letter."""


@pytest.mark.parametrize("model", COLORSWAP)
def test_real_answers_to_colorswap(shared, model):
    path = shared / f"golden/lmm/colorswap/text-{model}.json"
    if not path.is_file():
        pytest.skip(f"no {path}: the file text-{model}-colorswap.json of github.com/Top34051/colorswap at 4f2c9e4")
    right, letters = 0, Counter()
    for row in json.loads(path.read_text("utf-8")):
        both = True
        for image in ("1", "2"):
            options = re.search(r"\(A\) (.*?),? or \(B\) (.*?)\? ", row[f"prompt_image_{image}"]).groups()
            found = NamedAnswers(options).read(row[f"response_image_{image}"], marks="AB")
            answer = "none" if found.position is None else "AB"[found.position]
            letters[answer] += found.reason == "letter"
            both &= answer == row[f"log_{image}"]["correct_answer"]
        right += both
    assert (right, letters.total()) == COLORSWAP[model]
    if model == "llavar":
        assert (letters["A"], letters["B"]) == (528, 4)
