"""Tiles in tar shards for training."""
