"""The machine and process around a run; no domain words."""
