"""Prompt sets: the templates that turn class names into texts."""
