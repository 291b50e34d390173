"""Patch-FID: crop plans, their features, and its values."""
