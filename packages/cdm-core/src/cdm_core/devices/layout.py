"""How images lie in memory: with the channels last, as the weights of convolutions do, which makes these faster."""

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """Lays images, (B, C, H, W), out in memory as a network has its weights.

    It then copies none of them, and a compiled one sees the same at every step. On a GPU images of one channel, which
    lie the same way in both layouts, get the strides of this one: joined to others with `torch.cat` they would else
    give a tensor with the channels first.
    """
    images = images.contiguous(memory_format=torch.channels_last)
    if images.shape[1] == 1 and images.device.type != "cpu":
        _, _, height, width = images.shape
        return images.as_strided(images.shape, (height * width, 1, width, 1))
    return images


def channels_last_on_gpu(images: Tensor) -> Tensor:
    """Lays images on a GPU out as `channels_last` does; else each layer would, for its input.

    On a CPU they stay as they are: its kernels round otherwise for another layout, and runs could not be resumed.
    """
    return images if images.device.type == "cpu" else channels_last(images)
