"""Parallel runs with pytest-xdist: devices, groups of tests, scheduling."""
