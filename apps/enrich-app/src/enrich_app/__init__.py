"""The command line of enrichment: synthetic pairs of images and masks, and what segmentation gains by them."""
