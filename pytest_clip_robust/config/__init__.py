"""Settings of a run: the profile, and the checked command-line and ini options."""
