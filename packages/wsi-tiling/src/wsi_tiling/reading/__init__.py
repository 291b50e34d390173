"""Slides and label images read from files."""
