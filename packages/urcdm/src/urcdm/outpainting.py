"""Outpainting, the baseline of ultra-resolution cascades: a single level, without contexts."""

import math

from cdm_core import Cascade
from urcdm.config import Level, UrcdmConfig
from urcdm.errors import SettingsError
from urcdm.model import Urcdm
from wsi_tiling import TissueRule


def outpainting(cascade: Cascade, *, mpp: float, overlap: float = 0.125) -> Urcdm:
    """Makes a model of one level, whose patches hold their neighbours' pixels and have no context.

    It is sampled like any other model, in order or jointly, on the grid that the last level of an ultra-resolution
    cascade with the same overlap has; every patch is sampled. One of its pixels is one level-0 px, and a slide may have
    any size.

    Args:
        cascade: An unconditional cascade.
        mpp: Micrometres a pixel of its images.
        overlap: Share of a patch that overlaps the next.

    Raises:
        SettingsError: The cascade is conditioned on images or starts from one, or a number is outside its range.
    """
    first, *_ = stages = cascade.config.stages
    if channels := max(stage.unet.cond_images_channels for stage in stages):
        raise SettingsError(f"outpainting needs an unconditional cascade; this one takes {channels} more channels")
    if first.lowres_px is not None:
        raise SettingsError(f"outpainting needs a base model; this cascade starts by enlarging {first.lowres_px} px")
    if not 0 < mpp < math.inf:
        raise SettingsError(f"wanted a finite mpp above 0, got {mpp}")
    if not 0 <= overlap <= 0.5:
        raise SettingsError(f"wanted an overlap in [0, 0.5], got {overlap}")
    side = stages[-1].image_px
    level = Level("outpainted", side, side)
    config = UrcdmConfig((level,), mpp=mpp, overlap=overlap, tissue=TissueRule.everything())
    return Urcdm(config, [cascade], cascade.provenance)
