"""Image files of every kind, read as 8-bit RGB or as label numbers."""
