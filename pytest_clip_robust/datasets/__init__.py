"""Data sets: where they lie, what their columns mean, and how they become an ImageSet."""
