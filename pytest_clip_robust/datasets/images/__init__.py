"""Image sets: images with labels, annotations and depth."""
