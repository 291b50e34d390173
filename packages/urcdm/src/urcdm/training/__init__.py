"""Training examples from slides and from shards."""
