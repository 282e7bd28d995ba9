"""Layouts of published correspondence data sets."""
