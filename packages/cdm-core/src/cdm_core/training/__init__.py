"""Training: the loop, its examples, its state on disk, its log."""
