"""Slides in the browser, side by side: `urcdm-app view`."""
