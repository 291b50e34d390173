"""Generators of noise, one an image."""

import numpy as np
import torch


def image_generator(seed: int, number: int) -> torch.Generator:
    """Returns the generator of the n-th image of a seed; on the CPU, so that noise is the same on every device."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
