"""Canvases, patches and contexts: how they lie, and what waits for what."""
