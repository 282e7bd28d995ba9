"""Encoding of images, texts and pairs of pictures; features are stored and each sample is encoded once."""
