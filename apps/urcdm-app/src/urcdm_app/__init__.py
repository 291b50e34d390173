"""The command line of the ultra-resolution cascade: tile, train, sample, info."""
