"""Retrieval and composition suites, on the colour world with words for what is in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pytest_clip_robust.core.summary import RunSummary, merge_summaries
from pytest_clip_robust.datasets.captions.word_order import other_orders

SUITES = Path(__file__).resolve().parents[2] / "suites"
PAINT = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (30, 40, 210)}

ROLES = """
name = "words"
[roles]
captions = "words"
composition = ["pairs", "wino"]
[data.words]
location = "pictures"
[data.pairs]
location = "pictures"
table = "pairs.json"
[data.wino]
location = "pictures"
table = "wino.jsonl"
"""

TELLS_WHAT_IT_CUTS = """

class ShortClip(ColourClip):
    identity = "short clip"

    def too_long(self, texts):
        return [len(text.split()) > 4 for text in texts]

def load_short():
    return ShortClip()
"""


@pytest.fixture
def world(colours):
    """Twelve pictures of each colour with two captions each, pairs that colours tell apart, and pairs of pairs."""
    folder = colours.path / "pictures"
    folder.mkdir()
    captions, pairs = {}, []
    for i in range(36):
        colour, other = (list(PAINT)[(i + step) % 3] for step in (0, 1))
        pixels = np.array(PAINT[colour]) + np.random.default_rng(i).normal(0, 25, (8, 8, 3))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / f"{i}.png")
        captions[f"{i}.png"] = [f"a thing that is {colour}", f"{colour} number {i}"]
        pairs.append({"image": f"{i}.png", "caption": f"a {colour} thing", "negative_caption": f"a {other} thing"})
    wino = [
        {
            "image_0": f"{i}.png",
            "image_1": f"{i + 1}.png",
            "caption_0": captions[f"{i}.png"][1],
            "caption_1": captions[f"{i + 1}.png"][1],
        }
        for i in range(0, 36, 2)
    ]
    (folder / "captions.json").write_text(json.dumps(captions))
    (folder / "pairs.json").write_text(json.dumps({"replace_att": pairs[:20], "swap_att": pairs[20:]}))
    (folder / "wino.jsonl").write_text("\n".join(map(json.dumps, wino)))
    (colours.path / "roles.toml").write_text(ROLES)
    with (colours.path / "colour_clip.py").open("a") as file:
        file.write(TELLS_WHAT_IT_CUTS)

    def run(*options, model="load"):
        result = colours.runpytest(
            str(SUITES / "test_retrieval.py"),
            str(SUITES / "test_composition.py"),
            f"--model=py:colour_clip:{model}",
            "--clip-profile=roles.toml",
            "--clip-report=out",
            *options,
        )
        return result, json.loads((colours.path / "out" / "report.json").read_text())

    return run


def values(report):
    return {gate["measurement"]: gate.get("value") for gate in report["gates"]}


def test_every_number_of_both_suites(world):
    result, report = world("-rs")
    assert result.ret == 0, result.stdout
    found = values(report)
    assert set(found) == {
        *(f"retrieval.recall_at_{k}_{way}[words]" for k in (1, 5, 10) for way in ("image_to_text", "text_to_image")),
        *(
            f"retrieval.{of}_rank_{way}[words]"
            for of in ("mean", "median")
            for way in ("image_to_text", "text_to_image")
        ),
        "features.modality_gap[words]",
        "features.alignment[words]",
        "features.uniformity_image[words]",
        "features.uniformity_text[words]",
        *(
            f"composition.{metric}[pairs{kind}]"
            for metric in ("accuracy", "gain_over_blind", "text_only_ngram_cv5")
            for kind in ("", "/replace_attribute", "/swap_attribute")
        ),
        *(f"composition.winoground_{score}[wino]" for score in ("text", "image", "group")),
        "word_order.accuracy[words]",
        "word_order.gain_over_blind[words]",
    }
    assert found["composition.accuracy[pairs]"] == 1
    assert found["composition.gain_over_blind[pairs]"] > 0.3
    assert found["composition.winoground_group[wino]"] == 1
    assert found["word_order.accuracy[words]"] == 0  # a bag of words: every order ties, and a tie is wrong
    gates = {gate["measurement"]: gate for gate in report["gates"]}
    assert gates["retrieval.recall_at_1_text_to_image[words]"]["n"] == 72
    assert (
        gates["composition.accuracy[pairs]"]["details"]["text_only"] == found["composition.text_only_ngram_cv5[pairs]"]
    )
    assert gates["composition.accuracy[pairs]"]["provenance"]["data"]
    assert report["data"]["words"] == report["data"]["words"] | {"images": 36, "texts": 72}
    result.stdout.fnmatch_lines(
        [
            "data set 'words': 36 captions are listed for several images, such as 'a thing that is red': each counts*",
            "*'wino' has pairs of images with pairs of captions, and no false captions*",
            "*'pairs' has no false captions of the kind 'replace_object'*",
            "*'pairs' has no pairs of images with pairs of captions*",
        ],
        consecutive=False,
    )


def test_all_of_it_encodes_every_image_and_text_once(world):
    _, report = world()
    shuffled = {text for colour in PAINT for text in other_orders(f"a thing that is {colour}".split())}
    assert report["encoded"] == {"images": 36, "texts": 3 + 36 + 3 + len(shuffled), "answers": 0}
    _, again = world()
    assert again["encoded"] == {"images": 0, "texts": 0, "answers": 0}
    assert values(again) == values(report)


def test_what_two_workers_read_of_one_set_is_put_together():
    def summary(**about):
        return RunSummary(
            models={},
            data={"words": about},
            notices=[],
            images_encoded=1,
            texts_encoded=2,
            answers_given=0,
            left_to_others=0,
            rows_lost=0,
        )

    merged = merge_summaries([summary(images=3, texts=5), summary(images=3, fingerprint="ab")])
    assert merged["data"] == {"words": {"images": 3, "texts": 5, "fingerprint": "ab"}}


def test_a_failed_recall_names_the_worst_misses(world):
    with Path("roles.toml").open("a") as profile:
        profile.write('[thresholds]\n"retrieval.recall_at_1_text_to_image" = { at_least = 0.99 }\n')
    result, _ = world("-k", "test_recall and text_to_image and 1-")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(
        [
            "retrieval.recall_at_1_text_to_image[[]words[]] = * is below its threshold 0.9900",
            "  interval * (95% Wilson, clustered)",
            "  chance      0.02778",
            "  candidates  36",
            "    *.png#*: * true *.png  predicted *.png (*%)",
        ],
    )
    result.stdout.no_fnmatch_line("*Traceback*")


def test_captions_longer_than_the_context_are_counted(world):
    result, report = world("-k", "test_median_rank and text_to_image", model="load_short")
    (gate,) = report["gates"]
    assert gate["details"]["captions_truncated"] == 36
    result.stdout.fnmatch_lines(
        ["py:colour_clip:load_short: 36 of 72 captions of 'words' are longer than its context and were truncated, *"]
    )


def test_a_model_that_does_not_say_what_it_cuts_is_named(world):
    result, _ = world("-k", "test_median_rank")
    result.stdout.fnmatch_lines(
        ["py:colour_clip:load: the number of truncated captions is unknown; its encoder has no method *"]
    )


def test_roles_that_no_set_plays_are_skipped_with_the_reason(colours):
    result = colours.runpytest(
        str(SUITES / "test_retrieval.py"), str(SUITES / "test_composition.py"),
        "--model=py:colour_clip:load", "--clip-profile=profile.toml", "-rs",
    )  # fmt: skip
    assert result.ret == 0
    assert set(result.parseoutcomes()) == {"skipped"}
    result.stdout.fnmatch_lines(
        ["*no data set has the role 'captions' in profile 'colours'*", "*has the role 'composition' in *"],
        consecutive=False,
    )


def test_recall_among_few_candidates_is_skipped(world):
    Path("pictures/captions.json").write_text(json.dumps({f"{i}.png": [f"{list(PAINT)[i]}"] for i in range(3)}))
    result, report = world("-k", "test_recall", "-rs")
    assert set(values(report)) == {f"retrieval.recall_at_1_{way}[words]" for way in ("image_to_text", "text_to_image")}
    result.stdout.fnmatch_lines(["*recall at 5 is not defined among 3 candidates*"])


def test_a_listing_that_is_wrong_fails_every_test_in_one_line(world):
    Path("pictures/captions.json").write_text(json.dumps({"0.png": ["fine"], "lost.png": ["fine"]}))
    result, report = world("-k", "test_mean_rank")
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["data set 'words': *captions.json, entry 'lost.png': no image lost.png in *pictures"])
    result.stdout.no_fnmatch_line("*Traceback*")
    assert {gate["verdict"] for gate in report["gates"]} == {"error"}


def test_a_suite_of_one_s_own_asks_for_what_is_there(world, pytester):
    pytester.makepyfile(
        test_own="""
        import pytest
        from pytest_clip_robust.errors import ConfigError
        from pytest_clip_robust.properties import retrieval

        def test_it(model, gate):
            assert model.retrieval.captioned("words").images.shape == (36, 3)
            gate(retrieval.recall(model.retrieval.ranking("words", "image_to_text"), 5), at_least=0.1)
            with pytest.raises(ConfigError, match="use its contrasts"):
                model.composition.matches("pairs")
            with pytest.raises(ConfigError, match="use its matches"):
                model.composition.contrasts("wino")
            with pytest.raises(ConfigError, match=r"no data set 'word' in this run .did you mean 'words'.*"):
                model.retrieval.captioned("word")
        """
    )
    pytester.runpytest("test_own.py", "--model=py:colour_clip:load", "--clip-profile=roles.toml").assert_outcomes(
        passed=1
    )


NEWER = """
name = "newer"
[roles]
composition = ["scpp", "whatsup", "negbench", "colorswap"]
[data.scpp]
location = "pictures"
table = "swap_att.json"
[data.whatsup]
location = "pictures"
table = "controlled_images_dataset.json"
[data.negbench]
location = "pictures"
table = "mcq.csv"
[data.colorswap]
location = "pictures"
table = "test.json"
"""


@pytest.fixture
def newer(world):
    """Run the suites on four small sets in the layouts of SugarCrepe++, What'sUp, NegBench and ColorSwap."""
    folder = Path("pictures")
    names = list(PAINT)
    of = {colour: [f"{i}.png" for i in range(36) if names[i % 3] == colour] for colour in names}
    scpp, asked, swaps, scenes = (
        [],
        ["image_path,caption_0,caption_1,caption_2,caption_3,correct_answer,correct_answer_template"],
        [],
        [],
    )
    for i in range(12):
        red, green = of["red"][i], of["green"][i]
        scpp.append(
            {"filename": red, "caption": "red thing", "caption2": "a red one", "negative_caption": "a green thing"}
        )
        asked.append(f"data/x/{green},red,blue,green,red or blue,2,positive")
        asked.append(f"data/x/{red},red,blue,green,blue or green,0,negative")
        swaps.append({"id": i, "image_1": red, "image_2": green, "caption_1": "the red", "caption_2": "the green"})
    for i in range(3):
        texts = [
            f"{c} {where} {i}"
            for c, where in (("red", "on"), ("green", "under"), ("blue", "left of"), ("red", "right of"))
        ]
        files = (of["red"][i], of["green"][i], of["blue"][i], of["red"][i + 6])
        scenes += [
            {
                "image_path": f"data/controlled_images/{file}",
                "caption_options": [text, *(t for t in texts if t != text)],
            }
            for file, text in zip(files, texts, strict=True)
        ]
    for name, content in (("swap_att", scpp), ("controlled_images_dataset", scenes), ("test", swaps)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "mcq.csv").write_text("\n".join(asked) + "\n")
    Path("roles.toml").write_text(NEWER)
    return world


def test_newer_sets_are_measured_by_their_own_scores(newer):
    result, report = newer("-rs")
    assert result.ret == 0, result.stdout
    found = values(report)
    assert found["composition.accuracy[scpp]"] == 1
    assert found["composition.sugarcrepe_pp_image_to_text[scpp]"] == 1
    assert found["composition.accuracy[negbench]"] == 1
    assert found["composition.winoground_group[colorswap]"] == 1
    # In a set of four, the two red captions are alike for red images: a tie is wrong, and so is every set.
    assert found["composition.accuracy[whatsup]"] == 0.5
    assert found["composition.whatsup_pair[whatsup]"] == found["composition.whatsup_set[whatsup]"] == 0
    gates = {gate["measurement"]: gate for gate in report["gates"]}
    assert gates["composition.sugarcrepe_pp_image_to_text[scpp]"]["n"] == 12
    assert gates["composition.sugarcrepe_pp_text_only[scpp]"]["chance"] == pytest.approx(1 / 3)
    assert gates["composition.whatsup_pair[whatsup]"]["n"] == 6
    details = gates["composition.accuracy[negbench]"]["details"]
    assert (details["accuracy.affirmation"], details["accuracy.negation"]) == (1, 1)
    assert gates["composition.accuracy[negbench]"]["chance"] == 0.25
    groups = ("sugarcrepe_pp_image_to_text", "sugarcrepe_pp_text_only", "whatsup_pair", "whatsup_set")
    assert {name for name in found if name.startswith(tuple(f"composition.{one}[" for one in groups))} == {
        "composition.sugarcrepe_pp_image_to_text[scpp]",
        "composition.sugarcrepe_pp_text_only[scpp]",
        "composition.whatsup_pair[whatsup]",
        "composition.whatsup_set[whatsup]",
    }
    result.stdout.fnmatch_lines(
        [
            "*'negbench' has no groups of pairs for whatsup_pair*",
            "*'whatsup' has no second true captions*",
            "*'colorswap' has pairs of images with pairs of captions, and no false captions*",
        ],
        consecutive=False,
    )


def test_paraphrases_are_only_of_sets_that_have_them(newer, pytester):
    pytester.makepyfile(
        test_own="""
        import pytest
        from pytest_clip_robust.errors import ConfigError

        def test_it(model):
            assert len(model.composition.paraphrases("scpp")) == 12
            for name in ("whatsup", "colorswap"):
                with pytest.raises(ConfigError, match=f"'{name}' has no second true captions; use its"):
                    model.composition.paraphrases(name)
        """
    )
    run = pytester.runpytest("test_own.py", "--model=py:colour_clip:load", "--clip-profile=roles.toml")
    run.assert_outcomes(passed=1)
