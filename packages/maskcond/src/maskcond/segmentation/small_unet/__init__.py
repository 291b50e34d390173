"""A small U-Net as a segmentation model."""
