from __future__ import annotations

import pytest

from pytest_clip_robust.config.profile import load_profile
from pytest_clip_robust.config.sections import CorruptionSettings
from pytest_clip_robust.core.plain import read_section
from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.names import CORRUPTION_KINDS


def read(table):
    return read_section(CorruptionSettings, table, where="profile mine.toml: corruptions")


def test_an_empty_section_is_everything():
    assert read({}) == CorruptionSettings(kinds=CORRUPTION_KINDS, severities=(1, 2, 3, 4, 5))


def test_kinds_and_severities_come_in_their_own_order():
    plan = read({"kinds": ["flash", "fog_3d"], "severities": [5, 1], "images": 9, "also": ["ood"]})
    assert plan == CorruptionSettings(kinds=("fog_3d", "flash"), severities=(1, 5), images=9, also=("ood",))


def test_a_profile_has_a_section_of_it(tmp_path):
    (tmp_path / "depths").mkdir()
    (tmp_path / "p.toml").write_text('[corruptions]\nseed = 3\ndepth = "depths"\n')
    plan = load_profile(str(tmp_path / "p.toml")).corruptions
    assert (plan.seed, plan.depth) == (3, str(tmp_path / "depths"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"kind": []}, "unknown key 'kind' .did you mean 'kinds'"),
        ({"kinds": ["fog"]}, r"kinds\[0\]='fog'; expected one of near_focus"),
        ({"kinds": ["low_lite"]}, "did you mean 'low_light'"),
        ({"kinds": []}, "kinds is empty; name some of near_focus"),
        ({"severities": [0]}, r"severities\[0\]=0; expected one of 1, 2, 3, 4, 5"),
        ({"severities": [True]}, r"severities\[0\]=True"),
        ({"severities": 3}, "severities=3; expected a list"),
        ({"images": -1}, "images=-1; expected 0 or more"),
        ({"images": True}, "images=True; expected a whole number"),
        ({"images": 16**6000}, "images=<int too long to show>; expected a whole number of at most 64 bits"),
        ({"seed": "a"}, "seed='a'"),
        ({"depth": 3}, "depth=3; expected a string"),
        ({"also": ["ece"]}, r"also\[0\]='ece'; expected one of calibration, ood"),
    ],
)
def test_a_wrong_value_is_named_with_its_place(table, message):
    with pytest.raises(ConfigError, match=f"^profile mine.toml: corruptions.*{message}"):
        read(table)
