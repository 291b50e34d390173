"""`urcdm-app sample` and `outpaint`."""
