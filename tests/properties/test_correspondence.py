from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import MeasurementError
from pytest_clip_robust.properties.correspondence import WITHIN, pck, recall
from pytest_clip_robust.scoring.matches import KeypointMatches, ViewMatches
from pytest_clip_robust.stats.resampling import resample, value_from

CLASSES = ("cat", "chair", "train")


def view_matches(pairs=24, *, seed=0, rooms=6, **fields):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 40, pairs)
    return ViewMatches(
        **{
            "dataset": "views",
            "metres": [rng.exponential(0.03, size) for size in sizes],
            "pixels": [rng.exponential(12, size) for size in sizes],
            "angles": rng.uniform(0, 120, pairs),
            "scenes": [f"scene {i % rooms}" for i in range(pairs)],
            "samples": [f"pair {i}" for i in range(pairs)],
        }
        | fields
    )


def keypoint_matches(keypoints=300, *, pairs=40, seed=0, **fields):
    rng = np.random.default_rng(seed)
    pair_of = np.concatenate([np.arange(pairs), rng.integers(0, pairs, keypoints - pairs)])
    sources = rng.integers(0, 12, pairs)
    return KeypointMatches(
        **{
            "dataset": "points",
            "errors": rng.exponential(0.15, keypoints),
            "pair_of": pair_of,
            "sources": sources,
            "classes": sources % 3,
            "viewpoints": rng.integers(0, 3, pairs),
            "class_names": CLASSES,
        }
        | fields
    )


@pytest.mark.parametrize("within", WITHIN)
def test_recall_is_the_mean_over_pairs_of_the_share_of_correct_matches(within):
    found = view_matches()

    measured = recall(found, within)

    errors = found.metres if within.endswith("cm") else found.pixels
    assert measured.value == pytest.approx(np.mean([np.mean(one < WITHIN[within]) for one in errors]))
    assert measured.interval.low <= measured.value <= measured.interval.high
    assert measured.evidence.strata[0].columns["outcome"].mean() == pytest.approx(measured.value, abs=1e-6)
    assert measured.n == 24
    assert measured.metric == f"correspondence.recall_{within}"


@given(st.integers(0, 200))
def test_recall_never_falls_with_the_permitted_distance(seed):
    found = view_matches(seed=seed)

    for unit in ("cm", "px"):
        values = [recall(found, within).value for within in WITHIN if within.endswith(unit)]
        assert values == sorted(values)


@given(st.lists(st.integers(0, 18).map(lambda ten: ten * 10.0), min_size=1, max_size=20))
def test_every_pair_is_in_exactly_one_bin(angles):
    found = view_matches(len(angles), angles=np.array(angles), edges=(0, 30, 60, 90, 180))

    places = np.concatenate([found.within(bins) for bins in pairwise(found.edges)])

    assert sorted(places.tolist()) == list(range(len(angles)))


def test_bins_of_angles_divide_the_pairs():
    found = view_matches(angles=np.repeat([10.0, 30.0], 12))

    near, far = recall(found, "2cm", angles=(0, 30)), recall(found, "2cm", angles=(30, 60))

    assert (near.n, far.n) == (12, 12)
    assert (near.value + far.value) / 2 == pytest.approx(recall(found, "2cm").value)
    assert far.key == "correspondence.recall_2cm[views/30-60]"


def test_pairs_of_one_scene_are_one_cluster():
    rng = np.random.default_rng(0)
    skill = np.repeat(rng.uniform(0.01, 0.05, 6), 20)
    metres = [rng.exponential(one, 200) for one in skill]
    scenes = [f"{i // 20}" for i in range(120)]
    by_scene = view_matches(120, metres=metres, pixels=metres, scenes=scenes)
    apart = view_matches(120, metres=metres, pixels=metres, scenes=[str(i) for i in range(120)])

    wide, narrow = (recall(one, "2cm").interval for one in (by_scene, apart))

    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)


def test_the_interval_has_its_nominal_coverage():
    covered = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        skill = np.repeat(rng.beta(2, 6, 12), 4)  # 12 scenes of 4 pairs, of mean skill 0.25
        metres = [(rng.random(100) > one).astype(float) for one in skill]
        found = view_matches(48, metres=metres, pixels=metres, scenes=[str(i // 4) for i in range(48)])
        interval = recall(found, "2cm").interval
        covered += interval.low <= 0.25 <= interval.high
    assert 0.9 <= covered / 200 <= 0.98


def test_a_single_pair_has_a_wide_interval():
    interval = recall(view_matches(1), "5cm").interval
    assert interval.high - interval.low > 0.7


def test_the_pairs_of_a_single_scene_are_treated_as_independent():
    assert recall(view_matches(rooms=1), "2cm").interval.method == "Wilson, clustered"


def test_errors_name_what_no_pair_has():
    with pytest.raises(MeasurementError, match="has no views 150-180 degrees apart"):
        recall(view_matches(), "2cm", angles=(150, 180))
    with pytest.raises(MeasurementError, match="no distance '3cm'"):
        recall(view_matches(), "3cm")
    with pytest.raises(MeasurementError, match="pair 'pair 1' has 0 errors in metres and 2 in pixels"):
        view_matches(2, metres=[np.ones(2), np.ones(0)], pixels=[np.ones(2), np.ones(2)])
    with pytest.raises(MeasurementError, match="expected one number"):
        view_matches(2, angles=np.zeros(3))


def test_pck_is_a_mean_over_classes():
    found = keypoint_matches()

    measured = pck(found)

    classes = found.classes[found.pair_of]
    shares = [(found.errors[classes == one] <= 0.1).mean() for one in range(3)]
    assert measured.value == pytest.approx(np.mean(shares))
    assert measured.value == pytest.approx(value_from(measured.evidence))
    assert [measured.details[f"class_{name}"] for name in CLASSES] == pytest.approx(shares)
    assert measured.interval.low < measured.value < measured.interval.high
    assert measured.n == 300


def test_pck_of_one_class_and_of_one_viewpoint_change():
    found = keypoint_matches()
    pairs = found.pair_of

    of_class = pck(found, class_name="chair")
    turned = pck(found, viewpoint=2)

    assert of_class.value == pytest.approx((found.errors[found.classes[pairs] == 1] <= 0.1).mean())
    assert of_class.key == "correspondence.pck_10[points/chair]"
    assert turned.n == (found.viewpoints[pairs] == 2).sum()
    assert turned.key == "correspondence.pck_10[points/viewpoint_2]"


def test_an_error_of_exactly_a_tenth_is_correct():
    found = keypoint_matches(2, pairs=2, errors=np.array([0.1, 0.1000001]))

    assert found.classes[0] == found.classes[1] or pck(found).value == 0.5
    assert pck(found).evidence.strata[0].columns["found"].sum() == 1


def test_a_class_that_a_replicate_does_not_contain_is_ignored():
    found = keypoint_matches(40, pairs=20, errors=np.zeros(40))

    replicates = resample(pck(found).evidence)[0]

    assert (replicates == 1).all()


def test_errors_name_missing_keypoints():
    with pytest.raises(MeasurementError, match=r"has no class 'chairs' .did you mean 'chair'"):
        pck(keypoint_matches(), class_name="chairs")
    with pytest.raises(MeasurementError, match="no keypoints of 'viewpoint_7'"):
        pck(keypoint_matches(), viewpoint=7)
    with pytest.raises(MeasurementError, match="0 errors of 0 keypoints"):
        keypoint_matches(errors=np.zeros(0), pair_of=np.zeros(0, np.int64))


def test_the_headline_has_the_pairs_with_the_most_and_the_fewest_right_matches():
    asked = []

    def places(positions):
        asked.append(positions.tolist())
        return [np.column_stack([np.full((3, 4), 0.5), [0.001, 0.019, 0.021]]) for _ in positions]

    found = view_matches(images=[(f"{i}.png", f"{i + 1}.png") for i in range(24)], places=places)
    shares = [np.mean(one < 0.02) for one in found.metres]
    best, worst = int(np.argmax(shares)), int(np.argmin(shares))
    pairs = recall(found, "2cm").pairs
    assert asked == [[best, worst]]
    assert [(one.images[0], one.share) for one in pairs] == [
        (f"{best}.png", shares[best]), (f"{worst}.png", shares[worst]),
    ]  # fmt: skip
    assert pairs[0].right.tolist() == [True, True, False]
    assert pairs[0].places.shape == (3, 4)
    assert recall(found, "5cm").pairs == recall(found, "2cm", angles=(0, 120)).pairs == ()
    assert len(asked) == 1


def test_places_that_are_not_known_are_not_drawn():
    assert recall(view_matches(), "2cm").pairs == ()
    names = [("a", "b")] * 24
    assert recall(view_matches(images=names, places=lambda _: []), "2cm").pairs == ()
    (only,) = recall(view_matches(1, images=names[:1], places=lambda at: [np.zeros((1, 5))] * len(at)), "2cm").pairs
    assert only.images == ("a", "b")
