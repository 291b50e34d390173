"""The store of the finished patches of a run."""
