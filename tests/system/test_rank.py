from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_clip_robust.errors import ConfigError
from pytest_clip_robust.system.rank import Rank, read_rank


@given(digest=st.text(), world_size=st.integers(1, 50))
def test_every_sample_belongs_to_exactly_one_rank(digest, world_size):
    assert sum(Rank(rank, world_size).owns(digest) for rank in range(world_size)) == 1


def test_shares_are_about_equal():
    digests = [f"{number:064x}" for number in range(8000)]
    shares = [sum(map(Rank(rank, 8).owns, digests)) for rank in range(8)]
    assert sum(shares) == 8000
    assert all(900 < share < 1100 for share in shares)  # the standard deviation is 30


@pytest.mark.parametrize(
    ("environment", "share"),
    [
        ({}, None),
        ({"RANK": "3"}, None),
        ({"WORLD_SIZE": "", "RANK": "3"}, None),
        ({"WORLD_SIZE": "1"}, None),
        ({"WORLD_SIZE": "1", "RANK": "0", "LOCAL_RANK": "0"}, None),
        ({"WORLD_SIZE": "4", "RANK": "0"}, Rank(0, 4)),
        ({"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1"}, Rank(3, 4, 1)),
    ],
)
def test_ranks_are_read_from_the_launchers_variables(environment, share):
    assert read_rank(environment) == share


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"WORLD_SIZE": "four"}, "WORLD_SIZE='four': expected the number of processes"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0: expected the number of processes, 1 or more"),
        (
            {"WORLD_SIZE": "4"},
            "WORLD_SIZE=4 without RANK: set RANK to a number from 0 to 3 (WORLD_SIZE=4), or unset WORLD_SIZE",
        ),
        ({"WORLD_SIZE": "4", "RANK": "4"}, "RANK=4: expected a number from 0 to 3 (WORLD_SIZE=4)"),
        ({"WORLD_SIZE": "4", "RANK": "-1"}, "RANK=-1: expected a number from 0 to 3 (WORLD_SIZE=4)"),
        ({"WORLD_SIZE": "4", "RANK": "x"}, "RANK='x': expected a number from 0 to 3 (WORLD_SIZE=4)"),
        (
            {"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "-1"},
            "LOCAL_RANK=-1: expected the number of this process on its machine, from 0",
        ),
        (
            {"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": "x"},
            "LOCAL_RANK='x': expected the number of this process on its machine, from 0",
        ),
    ],
)
def test_inconsistent_variables_are_refused(environment, complaint):
    with pytest.raises(ConfigError) as error:
        read_rank(environment)
    assert str(error.value) == complaint
