"""A web site for blinded reader studies: which of two histology images is real?"""
