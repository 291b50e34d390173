"""`urcdm-app tile` and `export`."""
