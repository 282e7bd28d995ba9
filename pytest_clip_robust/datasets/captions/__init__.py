"""Sets of captions, and of true captions against false ones."""
