"""The model card: what is known of a model by the six factors of the study, and where each fact was read."""
