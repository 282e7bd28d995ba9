from __future__ import annotations

import pytest

from pytest_clip_robust.config.sections import CorrespondenceSettings, bin_name, read_correspondence_plan
from pytest_clip_robust.errors import ConfigError


def test_nothing_said_is_the_usual_protocol():
    plan = read_correspondence_plan({}, source="profile p.toml")

    assert plan == CorrespondenceSettings(size=512, pairs=0, angles=(0, 30, 60, 90, 120))
    assert [bin_name(edges) for edges in plan.bins] == ["0-30", "30-60", "60-90", "90-120"]


def test_everything_can_be_said():
    plan = read_correspondence_plan({"size": 256, "pairs": 40, "angles": [0, 15, 30.5, 180]}, source="p")

    assert (plan.size, plan.pairs) == (256, 40)
    assert [bin_name(edges) for edges in plan.bins] == ["0-15", "15-30.5", "30.5-180"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sizes": 3}, "has 'sizes' .did you mean 'size'"),
        ({"size": 32}, "size=32; expected at least 64 pixels"),
        ({"size": "large"}, "size='large'; expected a whole number"),
        ({"pairs": -1}, "pairs=-1; expected a whole number, 0 or more"),
        ({"angles": [30]}, r"angles=\[30\]; expected a list of degrees"),
        ({"angles": 30}, "angles=30; expected a list of degrees"),
        ({"angles": [0, True]}, "expected a list of degrees"),
        ({"angles": [60, 30]}, r"angles=\[60, 30\]; expected rising degrees from 0 to 180"),
        ({"angles": [0, 200]}, "expected rising degrees from 0 to 180"),
    ],
)
def test_a_wrong_value_is_named(table, message):
    with pytest.raises(ConfigError, match=f"profile p.toml: correspondence.*{message}"):
        read_correspondence_plan(table, source="profile p.toml")
