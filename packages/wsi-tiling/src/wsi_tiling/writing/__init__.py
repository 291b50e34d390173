"""Slides written to files."""
