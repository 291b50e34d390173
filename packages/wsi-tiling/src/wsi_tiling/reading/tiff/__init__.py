"""TIFF files, read by region."""
