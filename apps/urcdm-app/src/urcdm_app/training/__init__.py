"""`urcdm-app train`, `distill` and `finish`."""
