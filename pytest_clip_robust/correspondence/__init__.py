"""Correspondence: which point of one picture is which of another, judged by dense features and by known geometry."""

VERSION = 1
"""Changes whenever the same features would give other matches."""
