"""A picture of pairs of crops, from the finest magnification to the coarsest."""

import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

from pfid import CropFeatures, Images

PAIRS = 8
MARGIN_PX = 8
CAPTION_PX = 20
MOST_PATCH_PX = 256


def contact_sheet(features: CropFeatures, real: Images, fake: Images) -> NDArray[np.uint8]:
    """Draws pairs of crops that were measured, evenly chosen by magnification: real above, generated below.

    Args:
        features: What was measured.
        real: The real images of the plan.
        fake: The generated ones.

    Returns:
        The picture, (H, W, 3) uint8.

    Raises:
        ImageError: A picture cannot be read.
        SlideError: A slide cannot be read.
    """
    plan = features.plan
    by_magnification = features.kept[np.argsort(plan.reduction[features.kept], kind="stable")]
    count = min(PAIRS, len(by_magnification))
    chosen = [int(by_magnification[len(by_magnification) * (2 * i + 1) // (2 * count)]) for i in range(count)]
    side = min(plan.patch_px, MOST_PATCH_PX)
    column, row = max(side, 96) + MARGIN_PX, side + MARGIN_PX
    sheet = PIL.Image.new("RGB", (count * column + MARGIN_PX, 2 * row + CAPTION_PX + MARGIN_PX), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    for place, number in enumerate(chosen):
        left = MARGIN_PX + place * column
        for line, (images, planned) in enumerate(
            ((real, plan.crop("real", number)), (fake, plan.crop("fake", number)))
        ):
            source = images.source(images.names.index(planned.image))
            patch = source.read(planned.xy, planned.field, planned.size_px)
            close = getattr(source, "close", None)
            if close is not None:
                close()
            shown = PIL.Image.fromarray(patch).resize((side, side), PIL.Image.Resampling.LANCZOS)
            sheet.paste(shown, (left, MARGIN_PX + line * row))
        text = f"1/{plan.reduction[number]:.3g}"
        draw.text((left, MARGIN_PX + 2 * row), text, "black", font)
    return np.asarray(sheet)
