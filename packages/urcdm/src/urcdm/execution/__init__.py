"""Batches of patches, and the executors that run them."""
