"""Tables of tiles, crops and fields of slides."""
