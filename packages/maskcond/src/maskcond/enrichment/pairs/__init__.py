"""Synthetic pairs of images and masks: sampled, filtered, shown."""
