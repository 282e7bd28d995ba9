"""Sets for correspondence: posed RGB-D views, and objects with keypoints."""
