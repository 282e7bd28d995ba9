"""From images and prompts to stored features, each encoded once."""
