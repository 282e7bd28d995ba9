"""Image classifiers of timm, with their own heads."""
