"""Random generators of the noise, one for each image."""

import numpy as np
import torch


def image_generator(seed: int, number: int) -> torch.Generator:
    """Returns the generator of the image with a number, on the CPU, so that the noise is the same on every device."""
    state = np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
