"""The layouts that sets of posed views and of keypoints have on disk, one module a layout."""
