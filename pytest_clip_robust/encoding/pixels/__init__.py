"""Decoded and resized pixels, and their cache."""
