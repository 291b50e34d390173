"""Diffusion of masks, and of images from masks: cascades, their examples, training and sampling."""
