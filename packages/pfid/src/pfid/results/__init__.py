"""Results of measurements as JSON files, and their comparison."""
