"""Intervals, permutation tests and contrasts that the analyses share."""
