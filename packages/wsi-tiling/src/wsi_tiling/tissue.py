"""Where there is tissue: a rule on hue and saturation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2hsv

from wsi_tiling.region import MAX_BAND_PX, Image, check_image


@dataclass(frozen=True)
class TissueRule:
    """A pixel is tissue if its hue and its saturation are both above a limit; then the mask is eroded and dilated.

    Blue, purple and red, the colours of most stains, have hues above 0.5; glass has next to no saturation. Limits
    below 0 accept everything.

    Args:
        min_hue: Hue, in [0, 1], that tissue exceeds.
        min_saturation: Saturation, in [0, 1], that tissue exceeds.
        erode_px: Side of the square that erodes the mask, against specks; odd, or 0 for none.
        dilate_px: Side of the square that dilates it afterwards, for a rim of glass round tissue; odd, or 0 for none.

    Raises:
        ValueError: A limit is above 1, or a side is negative or even.
    """

    min_hue: float = 0.5
    min_saturation: float = 0.02
    erode_px: int = 0
    dilate_px: int = 0

    def __post_init__(self) -> None:
        if not (self.min_hue <= 1 and self.min_saturation <= 1):
            raise ValueError(f"wanted limits of at most 1, got hue {self.min_hue}, saturation {self.min_saturation}")
        for side in (self.erode_px, self.dilate_px):
            if side < 0 or (side and side % 2 == 0):
                raise ValueError(f"wanted an odd number of pixels to erode or dilate by, or 0, got {side}")

    @classmethod
    def everything(cls) -> "TissueRule":
        """The rule for pictures without a background: all of it counts."""
        return cls(min_hue=-1.0, min_saturation=-1.0)

    @property
    def accepts_everything(self) -> bool:
        """Whether no pixel can fail the rule."""
        return self.min_hue < 0 and self.min_saturation < 0


STUDY = TissueRule(0.5, 0.02, erode_px=5, dilate_px=51)
"""The limits of the study that this project follows, made for pictures of some 6 level-0 pixels a pixel."""
STRICT = TissueRule(0.8, 0.05, erode_px=5, dilate_px=51)
"""Its stricter limits: pink and purple only."""


def tissue_mask(image: Image, rule: TissueRule) -> NDArray[np.bool_]:
    """Marks the tissue in a picture.

    At the picture's edge, tissue is taken to go on as it does inside: erosion does not eat into it from there.

    Args:
        image: Picture, (H, W, 3) uint8 RGB.
        rule: What counts as tissue; its sides are pixels of this picture.

    Returns:
        (H, W) bool, true on tissue.

    Raises:
        ValueError: The picture is not (H, W, 3) uint8.
    """
    mask = colour_mask(image, rule)
    if rule.erode_px:
        mask = ndimage.minimum_filter(mask, size=rule.erode_px, mode="nearest")
    if rule.dilate_px:
        mask = ndimage.maximum_filter(mask, size=rule.dilate_px, mode="nearest")
    return mask


def colour_mask(image: Image, rule: TissueRule) -> NDArray[np.bool_]:
    """Marks the pixels whose colour passes the rule, (H, W) bool, without erosion or dilation."""
    check_image(image)
    mask = np.ones(image.shape[:2], np.bool_)
    if rule.accepts_everything:
        return mask
    rows = max(1, MAX_BAND_PX // 8 // image.shape[1])
    for top in range(0, len(image), rows):
        hsv = rgb2hsv(image[top : top + rows].astype(np.float32) / 255)
        mask[top : top + rows] = (hsv[..., 0] > rule.min_hue) & (hsv[..., 1] > rule.min_saturation)
    return mask
