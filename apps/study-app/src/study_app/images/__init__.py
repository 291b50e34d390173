"""Images of a study: read, brought to one form that does not reveal their origin, and imported."""
