"""Sets of closed-set questions about images, for large multimodal models."""
