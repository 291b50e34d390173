"""The classifier two-sample test."""
