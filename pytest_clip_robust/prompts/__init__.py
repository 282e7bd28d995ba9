"""Prompt sets: the templates that turn a class name into text."""
