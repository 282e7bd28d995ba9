"""The robustness suites. Run them with ``pytest --model SPEC``, or ``--pyargs pytest_clip_robust.suites`` once installed."""
