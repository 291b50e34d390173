"""Results of a study: its facts, the analyses of study-stats, and a page of both in a single file."""
