from __future__ import annotations

import pytest

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.config.sections import CorruptionSettings, read_plan
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.names import CORRUPTION_KINDS


def test_nothing_said_is_everything():
    assert read_plan({}, source="x") == CorruptionSettings(kinds=CORRUPTION_KINDS, severities=(1, 2, 3, 4, 5))


def test_kinds_and_severities_come_in_their_own_order():
    plan = read_plan({"kinds": ["flash", "fog_3d"], "severities": [5, 1], "images": 9, "also": ["ood"]}, source="x")
    assert plan == CorruptionSettings(kinds=("fog_3d", "flash"), severities=(1, 5), images=9, also=("ood",))


def test_a_profile_has_a_section_of_it(tmp_path):
    (tmp_path / "depths").mkdir()
    (tmp_path / "p.toml").write_text('[corruptions]\nseed = 3\ndepth = "depths"\n')
    plan = load_profile(str(tmp_path / "p.toml")).corruptions
    assert (plan.seed, plan.depth) == (3, str(tmp_path / "depths"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": []}, "has 'kind' .did you mean 'kinds'"),
        ({"kinds": ["fog"]}, "corruptions.kinds has 'fog'"),
        ({"kinds": ["low_lite"]}, "did you mean 'low_light'"),
        ({"kinds": []}, "expected a list of some of near_focus"),
        ({"severities": [0]}, "severities has 0; expected some of 1, 2, 3, 4, 5"),
        ({"severities": [True]}, "has True"),
        ({"severities": 3}, "severities=3; expected a list"),
        ({"images": -1}, "images=-1; expected a whole number"),
        ({"images": True}, "images=True"),
        ({"seed": "a"}, "seed='a'"),
        ({"depth": 3}, "depth=3; expected a folder or a hub name"),
        ({"also": ["ece"]}, "also has 'ece'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_place(table, message):
    with pytest.raises(ConfigError, match=f"mine.toml: corruptions.*{message}|{message}") as caught:
        read_plan(table, source="mine.toml")
    assert str(caught.value).startswith("mine.toml: corruptions")
