"""The formats of slides, one module each; `wsi_tiling.reading.openers` lists them."""
