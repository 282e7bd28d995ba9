"""Large multimodal models of transformers: an image and a question in, likelihoods of candidates or a text out."""
