"""Dense features of images, and matches between them."""
