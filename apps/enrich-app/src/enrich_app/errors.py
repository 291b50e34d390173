"""The packages whose own errors are for users."""

PACKAGES = ("cdm_core", "enrich_app", "image_files", "maskcond")
