"""Evaluated models: features, scores and answers for the suites."""
