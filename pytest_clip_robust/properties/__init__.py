"""Robustness properties: Predictions in, one Measurement out. Pure NumPy and SciPy."""
