"""Stages: networks bound to conditions, made ready, sampled, widened; and what a stage takes of an example."""
