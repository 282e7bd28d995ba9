"""Engines encode what the feature store lacks."""
