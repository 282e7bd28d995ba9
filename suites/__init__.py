"""The robustness suites: ``pytest --model SPEC`` here, ``--pyargs pytest_clip_robust.suites`` where installed."""
