"""Analyses of a reader study, one module each."""
