"""A picture of pairs of crops, from the finest magnification to the coarsest."""

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from pfid.crops.features import CropFeatures
from pfid.crops.plan import SIDES
from pfid.crops.reading import read_chosen
from pfid.images.sources import Image, Images
from pfid.pictures.layout import FONT, MARGIN_PX

CAPTION_PX = 20
MOST_PATCH_PX = 256
_LEAST_COLUMN_PX = 96


def crop_pairs_picture(features: CropFeatures, *, real: Images, fake: Images, count: int = 8) -> Image:
    """Draws pairs of measured crops, evenly chosen by magnification: real above, generated below.

    Args:
        features: Features of the crops.
        real: The real images of the plan.
        fake: The generated images of the plan.
        count: Most pairs to draw.

    Returns:
        The picture, (H, W, 3) uint8.

    Raises:
        ImageError: An image cannot be read.
    """
    plan = features.plan
    by_magnification = features.kept[np.argsort(plan.reduction[features.kept], kind="stable")]
    count = min(count, len(by_magnification))
    chosen = by_magnification[len(by_magnification) * (2 * np.arange(count) + 1) // (2 * count)]
    side_px = min(plan.patch_px, MOST_PATCH_PX)
    column, row = max(side_px, _LEAST_COLUMN_PX) + MARGIN_PX, side_px + MARGIN_PX
    size = (count * column + MARGIN_PX, 2 * row + CAPTION_PX + MARGIN_PX)
    picture = PillowImage.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for line, (side, images) in enumerate(zip(SIDES, (real, fake), strict=True)):
        for position, patch in enumerate(read_chosen(images, plan, side, chosen)):
            resized = PillowImage.fromarray(patch).resize((side_px, side_px), PillowImage.Resampling.LANCZOS)
            picture.paste(resized, (MARGIN_PX + position * column, MARGIN_PX + line * row))
    for position, number in enumerate(chosen):
        text = f"1/{plan.reduction[number]:.3g}"
        draw.text((MARGIN_PX + position * column, MARGIN_PX + 2 * row), text, "black", FONT)
    return np.asarray(picture)
