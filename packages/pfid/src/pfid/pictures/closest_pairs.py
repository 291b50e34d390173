"""A picture of generated images beside the training images nearest to them."""

import numpy as np
from PIL import Image as PillowImage
from PIL import ImageDraw

from pfid.copies.memorisation import Memorisation
from pfid.images.sources import Image, Images
from pfid.pictures.layout import CAPTION_PX, MARGIN_PX, draw_caption, fitted


def closest_pairs_picture(
    result: Memorisation, *, train: Images, fake: Images, count: int = 12, across: int = 3, image_px: int = 192
) -> Image:
    """Draws the generated images nearest to a training image, each on the left of that image.

    The caption of a pair has its distance, whether it counts as a copy, and both names.

    Args:
        result: The result of `memorisation` for the features of these images, in their order.
        train: The training images.
        fake: The generated images.
        count: Most pairs to draw; the nearest come first.
        across: Pairs in a row.
        image_px: Side of the square that each image is fitted into.

    Returns:
        The picture, (H, W, 3) uint8.

    Raises:
        ImageError: An image cannot be read.
    """
    pairs = result.closest(count)
    across = min(across, len(pairs))
    width, height = 2 * image_px + MARGIN_PX, image_px + CAPTION_PX + MARGIN_PX
    rows = -(-len(pairs) // across)
    size = (across * (width + MARGIN_PX) + MARGIN_PX, rows * height + MARGIN_PX)
    picture = PillowImage.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    for number, pair in enumerate(pairs):
        left = MARGIN_PX + number % across * (width + MARGIN_PX)
        top = MARGIN_PX + number // across * height
        for side, pixels in enumerate((fake.pixels(pair.fake), train.pixels(pair.train))):
            picture.paste(fitted(pixels, image_px), (left + side * (image_px + MARGIN_PX // 2), top))
        verdict = "counts as a copy" if result.is_copy(pair) else "does not count as a copy"
        lines = f"{pair.distance:.4g}: {verdict}", f"{fake.names[pair.fake]} | {train.names[pair.train]}"
        draw_caption(draw, (left, top + image_px), lines, width)
    return np.asarray(picture)
