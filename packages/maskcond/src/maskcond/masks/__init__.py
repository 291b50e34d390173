"""Masks as arrays: classes, codes, instances, augmentation."""
