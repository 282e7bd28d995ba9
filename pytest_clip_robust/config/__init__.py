"""Configuration: profile, options and their checks."""
