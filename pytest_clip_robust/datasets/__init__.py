"""Data sets: named entries, their sources on disk and on the hub, and the sets that they become."""
