"""Slides in the browser, for sites made with Flask: Deep Zoom tiles, OpenSeadragon and the scripts round it.

`viewer_files` needs the extra `wsi-tiling[viewer]`; the tiles do not.
"""

from typing import TYPE_CHECKING

from run_folder import lazy_names
from wsi_tiling.viewer.deep_zoom import DeepZoom, encode_png, read_tile

if TYPE_CHECKING:
    from wsi_tiling.viewer.site_files import viewer_files

__all__ = ["DeepZoom", "encode_png", "read_tile", "viewer_files"]
__getattr__ = lazy_names(__name__, {"site_files": ["viewer_files"]})
