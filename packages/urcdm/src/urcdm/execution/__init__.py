"""Tasks, batches of them, and the executors and workers that run them."""
