from __future__ import annotations

import logging
import warnings

import pytest

from pytest_clip_robust.system.quiet import quiet


def test_warnings_and_log_lines_below_errors_are_silent_inside_alone(logged):
    log = logging.getLogger("library")
    with quiet():
        with quiet():
            log.warning("inner")
            warnings.warn("inner", stacklevel=1)
        log.warning("after inner")
        log.error("an error")
        warnings.warn("after inner", stacklevel=1)
    log.warning("outside")
    assert logged == ["an error", "outside"]
    with pytest.warns(UserWarning, match="outside"):
        warnings.warn("outside", stacklevel=1)


def test_it_ends_with_an_error_inside_and_keeps_a_stricter_level_of_the_user(logged):
    log = logging.getLogger("library")
    with pytest.raises(KeyError), quiet():
        raise KeyError
    log.warning("heard")
    logging.disable(logging.ERROR)
    try:
        with quiet():
            log.error("inside")
        log.error("behind")
    finally:
        logging.disable(logging.NOTSET)
    assert logged == ["heard"]
