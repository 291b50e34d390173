"""Sampling of the levels and stages of a slide, patches in order or jointly."""
