"""nnU-Net as a segmentation model."""
