"""Images of any size: from folders, from arrays, and from anything that reads regions."""
