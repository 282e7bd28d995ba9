"""From a Measurement and its threshold to a Verdict."""
