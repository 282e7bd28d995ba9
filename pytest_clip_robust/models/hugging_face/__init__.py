"""Models of Hugging Face transformers with an image tower and a text tower."""
