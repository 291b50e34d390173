"""A picture of the dropped pairs, to check the filter by eye."""

from collections.abc import Sequence

import numpy as np
import PIL.Image
from PIL import ImageDraw, ImageFont

from maskcond.enrichment.pairs.filtering import Filtered, Reason
from maskcond.enrichment.pairs.outlined import outlined
from maskcond.masks.arrays import Image, Numbers

TILE_PX = 128
ACROSS = 8
MARGIN_PX = 6
CAPTION_PX = 22


def dropped_picture(filtered: Filtered, images: Sequence[Image], masks: Sequence[Numbers]) -> Image | None:
    """Draws up to eight of the dropped pairs for each reason, with their masks outlined.

    Args:
        filtered: Judged pairs.
        images: Samples, by their numbers.
        masks: Masks of the samples.

    Returns:
        (H, W, 3) uint8; None if no pair was dropped.
    """
    rows = {reason: [pair for pair in filtered.pairs if pair.reason is reason] for reason in Reason}
    rows = {reason: pairs for reason, pairs in rows.items() if pairs}
    if not rows:
        return None
    step = TILE_PX + MARGIN_PX
    picture = PIL.Image.new("RGB", (ACROSS * step + MARGIN_PX, len(rows) * (step + CAPTION_PX) + MARGIN_PX), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(14)
    for row, (reason, pairs) in enumerate(rows.items()):
        top = row * (step + CAPTION_PX) + MARGIN_PX
        draw.text((MARGIN_PX, top), f"{reason.value}: {len(pairs)}", "black", font)
        for column, pair in enumerate(pairs[:ACROSS]):
            tile = PIL.Image.fromarray(outlined(images[pair.number], masks[pair.number]))
            tile = tile.resize((TILE_PX, TILE_PX), PIL.Image.Resampling.LANCZOS)
            picture.paste(tile, (MARGIN_PX + column * step, top + CAPTION_PX))
    return np.asarray(picture)
