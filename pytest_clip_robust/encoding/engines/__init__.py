"""Engines, which encode the samples that the feature store lacks."""
