"""Slides in the browser, for sites made with Flask: Deep Zoom tiles, OpenSeadragon and the scripts round it.

The scripts need the extra `wsi-tiling[viewer]`; the tiles do not.
"""
