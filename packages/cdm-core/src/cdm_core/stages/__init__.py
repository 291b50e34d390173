"""One stage at work: its network bound to conditions, made ready, and sampled."""
