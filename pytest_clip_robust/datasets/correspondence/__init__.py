"""Posed views and keypoints."""
