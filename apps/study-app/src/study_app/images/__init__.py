"""Images of a study: brought to one form that tells nothing of where they are from, and imported from folders.

`encoding` is all that the server needs; the others read images, which takes longer to import.
"""
