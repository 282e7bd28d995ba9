"""Models that open_clip can build."""
