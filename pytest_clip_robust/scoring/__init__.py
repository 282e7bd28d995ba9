"""Features and logits to answers per sample; pure NumPy and SciPy."""
