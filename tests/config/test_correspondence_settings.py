from __future__ import annotations

import pytest

from pytest_clip_robust.config.sections import CorrespondenceSettings, bin_name
from pytest_clip_robust.core.plain import read_section
from pytest_clip_robust.errors import ConfigError


def read(table):
    return read_section(CorrespondenceSettings, table, where="profile p.toml: correspondence")


def test_an_empty_section_is_the_usual_protocol():
    plan = read({})

    assert plan == CorrespondenceSettings(size=512, pairs=0, angles=(0, 30, 60, 90, 120))
    assert [bin_name(edges) for edges in plan.bins] == ["0-30", "30-60", "60-90", "90-120"]


def test_every_key_is_read():
    plan = read({"size": 256, "pairs": 40, "angles": [0, 15, 30.5, 180]})

    assert (plan.size, plan.pairs) == (256, 40)
    assert [bin_name(edges) for edges in plan.bins] == ["0-15", "15-30.5", "30.5-180"]


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sizes": 3}, "unknown key 'sizes' .did you mean 'size'"),
        ({"size": 32}, "size=32; expected at least 64 pixels"),
        ({"size": "large"}, "size='large'; expected a whole number"),
        ({"pairs": -1}, "pairs=-1; expected 0 or more"),
        ({"angles": [30]}, r"angles=\[30.0\]; expected two or more rising edges"),
        ({"angles": 30}, "angles=30; expected a list"),
        ({"angles": [0, True]}, r"angles\[1\]=True; expected a number"),
        ({"angles": [0, float("nan")]}, r"angles\[1\]=nan; expected a finite number"),
        ({"angles": [60, 30]}, r"angles=\[60.0, 30.0\]; expected two or more rising edges from 0 to 180 degrees"),
        ({"angles": [0, 200]}, "rising edges from 0 to 180 degrees"),
    ],
)
def test_a_wrong_value_is_named(table, message):
    with pytest.raises(ConfigError, match=f"profile p.toml: correspondence.*{message}"):
        read(table)
