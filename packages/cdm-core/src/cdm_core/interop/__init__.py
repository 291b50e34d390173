"""Models of other libraries, and models from other places."""
