"""A web site for blinded reader studies of generated images."""
