"""The canvas: the store of the finished patches of a run."""
