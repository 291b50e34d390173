"""Feature extractors, the features of images, and their statistics."""
