"""Checks of a loaded model that take seconds: its parameters, inputs, features and answers on a small batch."""
