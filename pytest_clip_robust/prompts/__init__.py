"""Prompt sets and corpora: templates for class names, and labels for negative classes."""
