"""The shipped suites are found in a wheel and in a checkout."""

from __future__ import annotations

import pytest

from pytest_clip_robust.config.shipped import SUITES, shipped_profiles, shipped_suites, suites_folder


def test_a_wheel_has_them_inside_of_the_package(tmp_path):
    package = tmp_path / "site-packages" / "pytest_clip_robust"
    (package / "suites").mkdir(parents=True)
    assert suites_folder(package) == package / "suites"
    assert shipped_suites(package) == ["--pyargs", SUITES]


@pytest.mark.parametrize("checkout", ["pytest-clip-robust", "pytest_clip_robust"])
def test_a_checkout_has_them_next_to_the_package(tmp_path, checkout):
    package = tmp_path / checkout / "pytest_clip_robust"
    package.mkdir(parents=True)
    assert suites_folder(package) == tmp_path / checkout / "suites"
    assert shipped_suites(package) == [str(tmp_path / checkout / "suites")]


def test_profiles_are_known_by_their_file_s_name():
    assert {"showroom", "imagenet"} <= set(shipped_profiles())
    assert all(path.is_file() for path in shipped_profiles().values())
