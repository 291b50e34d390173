"""The network of the small U-Net: the plain network of nnU-Net's library, at the image's resolution or below."""

import torch.nn.functional as F
from torch import Tensor, nn

from cdm_core.networks.weights import seeded_weights
from maskcond.segmentation.extras import import_extra


class FoldedUnet(nn.Module):
    """A network that works on blocks of pixels: each block becomes one position with more channels, and back.

    Compared with a network at the image's resolution that has half the channels, one on blocks of 2 x 2 px takes about
    the same time, has four times the weights and sees twice as far.

    Args:
        unet: Network from (B, 3 block^2, h, w) to (B, C block^2, h, w).
        block_px: Side of a block, px.

    Source: the rearrangement of Shi et al. 2016, 'Real-time single image and video super-resolution'.
    """

    def __init__(self, unet: nn.Module, block_px: int) -> None:
        super().__init__()
        self.unet, self.block_px = unet, block_px

    def forward(self, images: Tensor) -> Tensor:
        """Returns (B, C, H, W) for images (B, 3, H, W)."""
        return F.pixel_shuffle(self.unet(F.pixel_unshuffle(images, self.block_px)), self.block_px)


def build_network(features: tuple[int, ...], *, block_px: int, outputs: int, seed: int) -> nn.Module:
    """Returns a new network from images (B, 3, H, W) to outputs (B, C, H, W).

    Args:
        features: Channels at each resolution, from the highest downwards.
        block_px: Side of the blocks of pixels that make one position of the highest resolution, px.
        outputs: Number of output channels C.
        seed: Seed of the weights.

    Raises:
        SegmentationError: The extra 'unet' is not installed.
    """
    unet = import_extra("dynamic_network_architectures.architectures.unet", extra="unet", use="the small U-Net")
    # the library initialises weights with the global generator, which is restored afterwards
    with seeded_weights(seed):
        network: nn.Module = unet.PlainConvUNet(
            input_channels=3 * block_px**2,
            n_stages=len(features),
            features_per_stage=features,
            conv_op=nn.Conv2d,
            kernel_sizes=3,
            strides=(1,) + (2,) * (len(features) - 1),
            n_conv_per_stage=2,
            num_classes=outputs * block_px**2,
            n_conv_per_stage_decoder=2,
            conv_bias=True,
            norm_op=nn.InstanceNorm2d,
            norm_op_kwargs={"eps": 1e-5, "affine": True},
            nonlin=nn.LeakyReLU,
            nonlin_kwargs={"inplace": True},
        )
        network.apply(unet.PlainConvUNet.initialize)
    return network if block_px == 1 else FoldedUnet(network, block_px)
