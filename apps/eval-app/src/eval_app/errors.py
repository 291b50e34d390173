"""The packages whose own errors are for users."""

PACKAGES = ("eval_app", "image_files", "maskcond", "pfid", "wsi_tiling")
