"""Work on many slides, in processes or on a Ray cluster."""
