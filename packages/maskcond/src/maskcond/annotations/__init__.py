"""Annotated images: readers of their files, as label and instance maps."""
