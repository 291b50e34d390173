"""Generated images that are copies of training images."""
