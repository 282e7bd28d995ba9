from __future__ import annotations

import gc
import weakref

import pytest

from pytest_clip_robust.system.garbage import loading_what_stays


class Cycle:
    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def _as_before():
    yield
    gc.freeze()  # what the run of these tests imported is left out, as before them


def test_what_was_loaded_is_left_out_of_collections_until_the_next_load():
    with loading_what_stays():
        old = Cycle()
    left = weakref.ref(old)
    del old
    gc.collect()
    assert left() is not None
    with loading_what_stays():
        gc.collect()
        assert left() is None


def test_an_error_while_loading_leaves_everything_out_as_well():
    gc.unfreeze()
    with pytest.raises(ValueError, match="broken"), loading_what_stays():
        raise ValueError("broken")
    assert gc.get_freeze_count()
