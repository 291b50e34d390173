"""Pictures of generated images and crops beside real ones."""
