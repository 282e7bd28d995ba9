"""Decoded and resized pixels on their way to a model."""
