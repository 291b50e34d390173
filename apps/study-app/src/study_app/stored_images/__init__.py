"""The form in which images of a study are stored: their encoding, and slides as files of tiles."""
