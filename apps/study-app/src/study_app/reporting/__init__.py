"""What came of a study: the facts of it, what study-stats says of its answers, and a page of both that stands alone."""
