"""Values that every layer passes: NumPy only."""
