"""The command line of enrichment: synthetic pairs of images and masks, and their benefit for segmentation."""
