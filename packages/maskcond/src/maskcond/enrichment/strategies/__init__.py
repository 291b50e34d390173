"""The strategies of training segmentation models: their data, models and table."""
