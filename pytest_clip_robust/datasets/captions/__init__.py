"""Sets of captioned images, and of true captions with false ones."""
