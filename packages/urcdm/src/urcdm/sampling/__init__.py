"""A slide from noise: levels, stages and patches in their order, or jointly."""
