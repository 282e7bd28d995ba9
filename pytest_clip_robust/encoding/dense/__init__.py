"""Dense features and correspondence between pictures."""
