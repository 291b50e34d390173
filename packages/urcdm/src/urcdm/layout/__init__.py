"""The layout of a slide: canvases, patches, contexts, and the order of the patches."""
